"""Placement groups that wait for resources: reported with what they ask for and what is free."""

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
"""States of a placement group without its resources."""


def report_pending_groups(
    tell: Reporter, all_processes: bool, over: threading.Event, ended: Callable[[], object] = lambda: None
) -> None:
    """Loop for a background thread: report, once a wait, placement groups of this job that do not get their resources.

    Args:
        all_processes: those of all processes of the job; else of the trainings that this process has started.
        over: set to end the loop.
        ended: called when a wait that was reported is over.
    """
    since, text = time.monotonic(), ""
    while not over.wait(POLL_INTERVAL_S):
        with suppress(RayError):
            pending = _pending_bundles(all_processes)
            if not pending:
                if text:
                    ended()
                since, text = time.monotonic(), ""
            elif not text and time.monotonic() - since > REPORT_AFTER_S:
                text = _format_bundles(pending)
                tell(text)


def _pending_bundles(all_processes: bool) -> Counter[tuple[tuple[str, float], ...]]:
    """Pending bundles and their number."""
    return Counter(
        tuple(sorted(bundle.items()))
        for group in reservations()
        if group.state in WAITING and (all_processes or _is_of_own_training(group))
        for bundle in group.bundles
    )


def _is_of_own_training(group: Reservation) -> bool:
    """Whether an actor of this process created the group; True where Ray does not say who did."""
    if not group.creator:
        return group.creator is None
    info = actor_info(group.creator)
    return info is not None and info.owner == ray.get_runtime_context().get_worker_id()


def _format_bundles(pending: Counter[tuple[tuple[str, float], ...]]) -> str:
    each = ", ".join(f"{count} x ({format_resources(dict(bundle))})" for bundle, count in pending.items())
    names: Resources = {name: 1.0 for bundle in pending for name, _ in bundle}
    return f"placement groups: {each}, free is {format_available(names)}"
