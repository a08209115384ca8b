"""Tasks that wait for machines that are busy with other work: told, with what they ask for and what is free."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray
from ray.exceptions import RayError

from vicc_ray.pipelines.cluster.capacity import (
    NO_PLACEMENT_GROUP,
    Resources,
    format_available,
    format_resources,
    has_free,
    task_shortage,
)
from vicc_ray.pipelines.cluster.session import owns_session
from vicc_ray.pipelines.cluster.wait_for_nodes import Reporter, wait_for_nodes
from vicc_ray.utils.background_thread import background_thread
from vicc_ray.utils.log import LOG
from vicc_ray.utils.progress_bar import ProgressBar

REPORT_AFTER_S = 15.0
"""Seconds of a wait after which it is told."""
POLL_INTERVAL_S = 1.0


def log(text: str) -> None:
    """A :data:`Reporter` for where nothing else is shown: a line on stderr."""
    LOG.warning("waiting for %s", text)


def reporter(bar: ProgressBar) -> Reporter:
    """Of a progress display: a line above it, or on stderr where it is off."""
    return log if bar.console.quiet else lambda text: bar.print(f"waiting for {text}")


@dataclass(frozen=True)
class TaskResources:
    """What each task of a pipeline takes.

    Attributes:
        wait_s: seconds after which machines that have it are given up (``ray.node_wait_timeout_s``).
        tell: gets what is waited for, if not the progress display does.
    """

    bundle: Resources
    wait_s: float
    tell: Reporter | None = None

    def wait(self, tell: Reporter) -> None:
        """Until a task can begin.

        Raises:
            UserError: it never can.
        """
        wait_for_nodes(partial(task_shortage, self.bundle), [self.bundle], self.wait_s, tell)
        wait_for_resources(self.bundle, tell)


def wait_for_resources(bundle: Resources, tell: Reporter) -> None:
    """Until one task that takes ``bundle`` has had its place; begun at once where nobody else holds anything."""
    if owns_session() or has_free(bundle):
        return
    options: dict[str, Any] = {f"num_{name.lower()}s": amount for name, amount in {"CPU": 0.0, **bundle}.items()}
    placed = [_nothing.options(**options, scheduling_strategy=NO_PLACEMENT_GROUP).remote()]
    if not ray.wait(placed, timeout=REPORT_AFTER_S)[0]:
        tell(f"room for a task: it takes {format_resources(bundle)}, free is {format_available(bundle)}")
    while not ray.wait(placed, timeout=POLL_INTERVAL_S)[0]:
        pass  # so that an interruption is heard
    ray.get(placed)


@ray.remote
def _nothing() -> None:
    """It has had its place."""


@contextmanager
def report_stalls(
    bundle: Resources,
    tell: Reporter,
    at_work: Callable[[], bool] = lambda: False,
    after_s: float = REPORT_AFTER_S,
    shared: bool | None = None,
) -> Iterator[StallTimer]:
    """Tell when tasks that take ``bundle`` bring nothing for a while and no machine has room for one more.

    Args:
        at_work: whether one of them is known to run.
        shared: whether others may hold what is there; by default, whether Ray was not started by this process.

    Yields:
        what is to hear of each result.
    """
    stall = StallTimer()
    if not (shared if shared is not None else not owns_session()):
        yield stall
        return
    with background_thread(partial(_watch_for_stalls, stall, bundle, tell, at_work, after_s)):
        yield stall


class StallTimer:
    """Since when there is no result."""

    def __init__(self) -> None:
        self.since, self.told = time.monotonic(), False

    def restart(self) -> None:
        """There is one, and the next is waited for."""
        self.since, self.told = time.monotonic(), False

    def pause(self) -> None:
        """There is one, and none is waited for until :meth:`restart`."""
        self.since = math.inf


def _watch_for_stalls(
    stall: StallTimer,
    bundle: Resources,
    tell: Reporter,
    at_work: Callable[[], bool],
    after_s: float,
    over: threading.Event,
) -> None:
    while not over.wait(POLL_INTERVAL_S):
        if stall.told or time.monotonic() - stall.since < after_s or at_work():
            continue
        with suppress(RayError):
            if not has_free(bundle):
                stall.told = True
                tell(f"results: a task takes {format_resources(bundle)}, free is {format_available(bundle)}")
