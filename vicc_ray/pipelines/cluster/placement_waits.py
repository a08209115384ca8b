"""Workers and trials that wait for their places, which others hold: told, with what they ask for and what is free."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import ray
from ray.exceptions import RayError

from vicc_ray.pipelines.cluster.capacity import Resources, format_available, format_resources
from vicc_ray.pipelines.cluster.ray_compat import Reservation, actor_info, reservations
from vicc_ray.pipelines.cluster.task_waits import POLL_INTERVAL_S, REPORT_AFTER_S
from vicc_ray.pipelines.cluster.wait_for_nodes import Reporter

WAITING = ("PENDING", "RESCHEDULING")
"""States of a placement group that has not got what it asks for."""


def report_pending_groups(
    tell: Reporter, all_processes: bool, over: threading.Event, ended: Callable[[], object] = lambda: None
) -> None:
    """Tell, once for each wait, when placement groups of this job do not get what they ask for; until ``over`` is set.

    Args:
        everyones: those of all processes of the job; else of the trainings that this process has begun.
        ended: is called when a wait that was told is over.
    """
    since, told = time.monotonic(), ""
    while not over.wait(POLL_INTERVAL_S):
        with suppress(RayError):
            asked = _asked(all_processes)
            if not asked:
                if told:
                    ended()
                since, told = time.monotonic(), ""
            elif not told and time.monotonic() - since > REPORT_AFTER_S:
                told = _format_bundles(asked)
                tell(told)


def _asked(all_processes: bool) -> Counter[tuple[tuple[str, float], ...]]:
    """How many of which bundles are waited for."""
    return Counter(
        tuple(sorted(bundle.items()))
        for group in reservations()
        if group.state in WAITING and (all_processes or _is_of_own_training(group))
        for bundle in group.bundles
    )


def _is_of_own_training(group: Reservation) -> bool:
    """Whether an actor that this process has begun asks, or nobody can say who does."""
    if not group.creator:
        return group.creator is None
    info = actor_info(group.creator)
    return info is not None and info.owner == ray.get_runtime_context().get_worker_id()


def _format_bundles(asked: Counter[tuple[tuple[str, float], ...]]) -> str:
    each = ", ".join(f"{count} x ({format_resources(dict(bundle))})" for bundle, count in asked.items())
    names: Resources = {name: 1.0 for bundle in asked for name, _ in bundle}
    return f"places: {each}, free is {format_available(names)}"
