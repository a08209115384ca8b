"""Tasks that wait for busy nodes: reported with what they ask for and what is free."""

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
"""Seconds of a wait after which it is reported."""
POLL_INTERVAL_S = 1.0


def log(text: str) -> None:
    """Reporter for commands without a progress display: a line on stderr."""
    LOG.warning("waiting for %s", text)


def reporter(bar: ProgressBar) -> Reporter:
    """Reporter of a progress display: a line above it, or on stderr where it is off."""
    return log if bar.console.quiet else lambda text: bar.print(f"waiting for {text}")


@dataclass(frozen=True)
class TaskResources:
    """Resources of each task of a pipeline.

    Attributes:
        wait_s: seconds to wait for nodes that have them (``ray.node_wait_timeout_s``).
        tell: reports waits; by default the progress display does.
    """

    bundle: Resources
    wait_s: float
    tell: Reporter | None = None

    def wait(self, tell: Reporter) -> None:
        """Wait until a task can start.

        Raises:
            UserError: no node can ever run it.
        """
        wait_for_nodes(partial(task_shortage, self.bundle), [self.bundle], self.wait_s, tell)
        wait_for_resources(self.bundle, tell)


def wait_for_resources(bundle: Resources, tell: Reporter) -> None:
    """Wait until an empty task that takes ``bundle`` has run; return at once where no other job runs."""
    if owns_session() or has_free(bundle):
        return
    options: dict[str, Any] = {f"num_{name.lower()}s": amount for name, amount in {"CPU": 0.0, **bundle}.items()}
    task = [_do_nothing.options(**options, scheduling_strategy=NO_PLACEMENT_GROUP).remote()]
    if not ray.wait(task, timeout=REPORT_AFTER_S)[0]:
        tell(f"resources for a task: it takes {format_resources(bundle)}, free is {format_available(bundle)}")
    while not ray.wait(task, timeout=POLL_INTERVAL_S)[0]:
        pass  # short waits, so that Ctrl-C is handled
    ray.get(task)


@ray.remote
def _do_nothing() -> None:
    """Task that only shows that its resources were free."""


@contextmanager
def report_stalls(
    bundle: Resources,
    tell: Reporter,
    at_work: Callable[[], bool] = lambda: False,
    after_s: float = REPORT_AFTER_S,
    shared: bool | None = None,
) -> Iterator[StallTimer]:
    """Report when tasks that take ``bundle`` return nothing for a while and no node has resources for one more.

    Args:
        at_work: whether a task is known to be running.
        shared: whether other jobs may hold resources; by default, whether this process joined a cluster.

    Yields:
        the timer to restart at each result.
    """
    stall = StallTimer()
    if not (shared if shared is not None else not owns_session()):
        yield stall
        return
    with background_thread(partial(_watch_for_stalls, stall, bundle, tell, at_work, after_s)):
        yield stall


class StallTimer:
    """Time since the last result."""

    def __init__(self) -> None:
        self.since, self.reported = time.monotonic(), False

    def restart(self) -> None:
        """A result has come, and the next one is awaited."""
        self.since, self.reported = time.monotonic(), False

    def pause(self) -> None:
        """A result has come, and none is awaited until :meth:`restart`."""
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
        if stall.reported or time.monotonic() - stall.since < after_s or at_work():
            continue
        with suppress(RayError):
            if not has_free(bundle):
                stall.reported = True
                tell(f"results: a task takes {format_resources(bundle)}, free is {format_available(bundle)}")
