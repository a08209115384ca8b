"""Machines that have too little for what is asked: told at once where that stays so, else asked for and waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Event

from ray.autoscaler.sdk import request_resources

from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster.capacity import ClusterCapacity, Resources, cluster_capacity
from vicc_ray.pipelines.cluster.session import owns_session

POLL_INTERVAL_S = 2.0
"""Seconds between looks at the cluster's machines."""
SETTLE_TIMEOUT_S = 60.0
"""Seconds without a new machine after which a cluster without an autoscaler counts as complete: machines that are begun
by hand come one after the other."""

Shortage = Callable[[ClusterCapacity], str]
"""What machines have too little of, in words with an advice after the last "; ", "" if nothing."""
Reporter = Callable[[str], object]
"""Gets a line about what is waited for."""


def wait_for_nodes(lack: Shortage, bundles: Sequence[Resources], seconds: float, tell: Reporter) -> None:
    """See that the machines have what is asked, and wait for those that may still come.

    Machines may come where there is an autoscaler, which is asked for ``bundles``, and where there is none yet that
    has CPUs. A head that does not train itself has neither CPUs nor GPUs, and machines come minutes after ``ray up``,
    or only when they are asked for.

    Args:
        seconds: after which it is given up (``ray.node_wait_timeout_s``).

    Raises:
        UserError: it cannot come, or it has not come.
    """
    there = cluster_capacity()
    if not lack(there):
        return
    reject_impossible(lack, there, tell)
    if not (missing := lack(cluster_capacity())):
        return
    tell(f"{missing}; for {seconds / 60:.0f} min at most")
    end, never = time.monotonic() + seconds, Event()
    request_resources(bundles=[dict(bundle) for bundle in bundles])
    try:
        while missing := lack(there := cluster_capacity()):
            reject_impossible(lack, there, tell)
            if time.monotonic() > end:
                raise UserError(
                    f"waited {seconds:.0f} s for machines ({missing}); `ray status` on the head tells why none comes "
                    "(quota, price, ssh): mend that, or raise ray.node_wait_timeout_s"
                )
            never.wait(POLL_INTERVAL_S)
    finally:
        request_resources(bundles=[])  # from here on Ray Train asks; else these would be kept for ever


def reject_impossible(lack: Shortage, there: ClusterCapacity, tell: Reporter) -> None:
    """See that nothing is missing which no machine that is to come has.

    A joined cluster without an autoscaler is given :data:`SETTLE_TIMEOUT_S` for its nodes, which is reported.

    Raises:
        UserError: what is.
    """
    if not (missing := lack(there)):
        return
    if there.autoscales or owns_session():
        if missing := permanent_shortage(lack, there):
            raise UserError(missing)
    elif there.total("CPU"):
        tell(f"{missing}; until no machine has joined for {SETTLE_TIMEOUT_S:.0f} s")
        if missing := _settled_shortage(lack, there):
            raise UserError(missing)


def permanent_shortage(lack: Shortage, there: ClusterCapacity) -> str:
    """What is missing and will be, whatever an autoscaler brings, "" if nothing; without one, what is missing now."""
    missing = lack(there)
    if not there.autoscales or not lack(
        there.ignoring_object_store()
    ):  # none is asked for to get a larger object store
        return missing
    if there.max_nodes is not None and (missing := lack(there.at_full_size())):
        return f"also with all machines that the autoscaler may bring: {missing}"
    return ""


def _settled_shortage(lack: Shortage, there: ClusterCapacity) -> str:
    """What is still missing when no machine has joined for a while."""
    since, never, missing = time.monotonic(), Event(), lack(there)
    while missing and time.monotonic() - since < SETTLE_TIMEOUT_S:
        never.wait(POLL_INTERVAL_S / 2)
        now = cluster_capacity()
        if len(now.nodes) != len(there.nodes):
            there, since, missing = now, time.monotonic(), lack(now)
    return missing
