"""Wait for nodes: a shortage of resources is reported at once if nothing can end it, else nodes are requested."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Event

from ray.autoscaler.sdk import request_resources

from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster.capacity import ClusterCapacity, Resources, cluster_capacity
from vicc_ray.pipelines.cluster.session import owns_session

POLL_INTERVAL_S = 2.0
"""Seconds between two looks at the cluster's nodes."""
SETTLE_TIMEOUT_S = 60.0
"""Seconds without a new node after which a cluster without an autoscaler counts as complete: nodes that are started by
hand join one after the other."""

Shortage = Callable[[ClusterCapacity], str]
"""From a capacity to what is missing, with advice after the last "; "; "" if nothing is."""
Reporter = Callable[[str], object]
"""Callable that gets a line about what is waited for."""


def wait_for_nodes(lack: Shortage, bundles: Sequence[Resources], seconds: float, tell: Reporter) -> None:
    """Wait until the nodes have the resources that are needed.

    More nodes may join where there is an autoscaler, which is asked for ``bundles``, and where none has CPUs yet. A
    head that does not train has neither CPUs nor GPUs, and its workers join minutes after ``ray up``, or on request.

    Args:
        seconds: timeout (``ray.node_wait_timeout_s``).

    Raises:
        UserError: the nodes cannot have them, or the timeout has passed.
    """
    cluster = cluster_capacity()
    if not lack(cluster):
        return
    reject_impossible(lack, cluster, tell)
    if not (missing := lack(cluster_capacity())):
        return
    tell(f"{missing}; for {seconds / 60:.0f} min at most")
    end, never = time.monotonic() + seconds, Event()
    request_resources(bundles=[dict(bundle) for bundle in bundles])
    try:
        while missing := lack(cluster := cluster_capacity()):
            reject_impossible(lack, cluster, tell)
            if time.monotonic() > end:
                raise UserError(
                    f"waited {seconds:.0f} s for nodes ({missing}); `ray status` on the head shows why none joins "
                    "(quota, price, ssh): fix that, or raise ray.node_wait_timeout_s"
                )
            never.wait(POLL_INTERVAL_S)
    finally:
        request_resources(bundles=[])  # Ray Train makes its own request; this one would keep nodes forever


def reject_impossible(lack: Shortage, cluster: ClusterCapacity, tell: Reporter) -> None:
    """Reject a shortage that no node that may join can end.

    A joined cluster without an autoscaler is given :data:`SETTLE_TIMEOUT_S` for its nodes, which is reported.

    Raises:
        UserError: what is.
    """
    if not (missing := lack(cluster)):
        return
    if cluster.autoscales or owns_session():
        if missing := permanent_shortage(lack, cluster):
            raise UserError(missing)
    elif cluster.total("CPU"):
        tell(f"{missing}; waiting until no node has joined for {SETTLE_TIMEOUT_S:.0f} s")
        if missing := _settled_shortage(lack, cluster):
            raise UserError(missing)


def permanent_shortage(lack: Shortage, cluster: ClusterCapacity) -> str:
    """Shortage that remains with all nodes of the autoscaler, "" if none; without one, the shortage now."""
    missing = lack(cluster)
    if not cluster.autoscales or not lack(
        cluster.ignoring_object_store()
    ):  # no node is requested for a larger object store
        return missing
    if cluster.max_nodes is not None and (missing := lack(cluster.at_full_size())):
        return f"even with all nodes that the autoscaler may add: {missing}"
    return ""


def _settled_shortage(lack: Shortage, cluster: ClusterCapacity) -> str:
    """Shortage that is left once no node has joined for a while."""
    since, never, missing = time.monotonic(), Event(), lack(cluster)
    while missing and time.monotonic() - since < SETTLE_TIMEOUT_S:
        never.wait(POLL_INTERVAL_S / 2)
        now = cluster_capacity()
        if len(now.nodes) != len(cluster.nodes):
            cluster, since, missing = now, time.monotonic(), lack(now)
    return missing
