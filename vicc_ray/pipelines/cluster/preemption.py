"""Whether Ray announces that a machine of the run is taken away, asked seldom enough to cost nothing."""

from __future__ import annotations

import time

import ray.train

from vicc_ray.training.distributed.collectives import rank

POLL_INTERVAL_S = 1.0
"""Asking is a round trip of all workers through an actor; clouds announce minutes or half a minute before."""


class PreemptionPoller:
    """Asks Ray Train, on all workers at the same step: the first one's clock says when."""

    def __init__(self) -> None:
        self._asked = time.monotonic()
        self._known: set[str] = set()

    def should_poll(self) -> float:
        """1.0 on the first worker when it is time to ask again, else 0.0; to be added up over the workers."""
        if rank() > 0 or time.monotonic() - self._asked < POLL_INTERVAL_S:
            return 0.0
        self._asked = time.monotonic()
        return 1.0

    def preempted(self) -> bool:
        """Ask; whether a machine is announced to go that was not known of before. All workers must call this."""
        info = ray.train.get_preemption_info()
        new = set(info.preempted_node_ids) - self._known if info else set()
        self._known |= new
        return bool(new)
