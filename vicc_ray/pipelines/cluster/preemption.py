"""Preemption notices of Ray Train, polled rarely enough to cost nothing."""

from __future__ import annotations

import time

import ray.train

from vicc_ray.training.distributed.collectives import rank

POLL_INTERVAL_S = 1.0
"""A poll is a round trip of all workers through an actor; clouds announce a preemption 30 s or more ahead."""


class PreemptionPoller:
    """Poller on all workers at the same step; the clock of the first worker says when."""

    def __init__(self) -> None:
        self._polled = time.monotonic()
        self._known: set[str] = set()

    def should_poll(self) -> float:
        """1.0 on the first worker when a poll is due, else 0.0; to be summed over the workers."""
        if rank() > 0 or time.monotonic() - self._polled < POLL_INTERVAL_S:
            return 0.0
        self._polled = time.monotonic()
        return 1.0

    def preempted(self) -> bool:
        """Poll; whether a node has a new preemption notice. All workers must call this."""
        info = ray.train.get_preemption_info()
        new = set(info.preempted_node_ids) - self._known if info else set()
        self._known |= new
        return bool(new)
