"""Machines that have too little for what is asked: told at once where that stays so, else asked for and waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Event

from ray.autoscaler.sdk import request_resources

from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster.capacity import Capacity, Resources, capacity
from vicc_ray.pipelines.cluster.session import is_own

LOOK_S = 2.0
"""Seconds between looks at the cluster's machines."""
SETTLE_S = 60.0
"""Seconds without a new machine after which a cluster without an autoscaler counts as complete: machines that are begun
by hand come one after the other."""

Lack = Callable[[Capacity], str]
"""What machines have too little of, in words with an advice after the last "; ", "" if nothing."""
Tell = Callable[[str], object]
"""Gets a line about what is waited for."""


def require(lack: Lack, bundles: Sequence[Resources], seconds: float, tell: Tell) -> None:
    """See that the machines have what is asked, and wait for those that may still come.

    Machines may come where there is an autoscaler, which is asked for ``bundles``, and where there is none yet that
    has CPUs. A head that does not train itself has neither CPUs nor GPUs, and machines come minutes after ``ray up``,
    or only when they are asked for.

    Args:
        seconds: after which it is given up (``ray.wait_s``).

    Raises:
        UserError: it cannot come, or it has not come.
    """
    there = capacity()
    if not lack(there):
        return
    refuse_impossible(lack, there, tell)
    if not (missing := lack(capacity())):
        return
    tell(f"{missing}; for {seconds / 60:.0f} min at most")
    end, never = time.monotonic() + seconds, Event()
    request_resources(bundles=[dict(bundle) for bundle in bundles])
    try:
        while missing := lack(there := capacity()):
            refuse_impossible(lack, there, tell)
            if time.monotonic() > end:
                raise UserError(
                    f"waited {seconds:.0f} s for machines ({missing}); `ray status` on the head tells why none comes "
                    "(quota, price, ssh): mend that, or raise ray.wait_s"
                )
            never.wait(LOOK_S)
    finally:
        request_resources(bundles=[])  # from here on Ray Train asks; else these would be kept for ever


def refuse_impossible(lack: Lack, there: Capacity, tell: Tell) -> None:
    """See that nothing is missing which no machine that is to come has.

    A cluster that has been joined and has no autoscaler is given :data:`SETTLE_S` for its machines, which is told.

    Raises:
        UserError: what is.
    """
    if not (missing := lack(there)):
        return
    if there.grows or is_own():
        if missing := lack_for_ever(lack, there):
            raise UserError(missing)
    elif there.total("CPU"):
        tell(f"{missing}; until no machine has joined for {SETTLE_S:.0f} s")
        if missing := _lack_once_settled(lack, there):
            raise UserError(missing)


def lack_for_ever(lack: Lack, there: Capacity) -> str:
    """What is missing and will be, whatever an autoscaler brings, "" if nothing; without one, what is missing now."""
    missing = lack(there)
    if not there.grows or not lack(there.of_any_store()):  # none is asked for to get a larger object store
        return missing
    if there.coming is not None and (missing := lack(there.grown())):
        return f"also with all machines that the autoscaler may bring: {missing}"
    return ""


def _lack_once_settled(lack: Lack, there: Capacity) -> str:
    """What is still missing when no machine has joined for a while."""
    since, never, missing = time.monotonic(), Event(), lack(there)
    while missing and time.monotonic() - since < SETTLE_S:
        never.wait(LOOK_S / 2)
        now = capacity()
        if len(now.machines) != len(there.machines):
            there, since, missing = now, time.monotonic(), lack(now)
    return missing
