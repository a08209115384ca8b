"""A cluster whose machines are still to come up: they are asked for and waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event

import ray
from ray.autoscaler.sdk import request_resources

from vicc_ray.config import TrainConfig
from vicc_ray.errors import UserError

LOOK_S = 2.0
"""Seconds between looks at the cluster's machines."""


def wait_for_machines(train: TrainConfig, seconds: float, tell: Callable[[str], object]) -> None:
    """Wait until the cluster has what the smallest allowed number of workers takes, and ask its autoscaler for it.

    A head that does not train itself has neither CPUs nor GPUs: how much a worker may take can be told when there are
    machines that train. Those come minutes after ``ray up``, or only when they are asked for.

    Args:
        seconds: after which it is given up.
        tell: gets a line about what is waited for, once; nothing if it is there.

    Raises:
        UserError: it has not come.
    """
    lacks = lacking(train)
    if not lacks:
        return
    tell(f"{lacks}, for {seconds / 60:.0f} min at most")
    gpus = {"GPU": train.worker_gpus} if train.use_gpu == "yes" else {}
    end, never = time.monotonic() + seconds, Event()
    request_resources(bundles=[{"CPU": 1, **gpus}] * train.workers.min)
    try:
        while lacks := lacking(train):
            if time.monotonic() > end:
                raise UserError(
                    f"waited {seconds:.0f} s for machines ({lacks}); `ray status` on the head tells why none comes "
                    "(quota, price, ssh): mend that, or raise ray.wait_s"
                )
            never.wait(LOOK_S)
    finally:
        request_resources(bundles=[])  # from here on Ray Train asks; else these would be kept for ever


def lacking(train: TrainConfig) -> str:
    """What the cluster has too little of for ``train.workers.min`` workers, "" if nothing."""
    there = ray.cluster_resources()
    needed = train.workers.min * train.worker_gpus if train.use_gpu == "yes" else 0.0
    if there.get("GPU", 0.0) < needed:
        return f"GPUs: {there.get('GPU', 0.0):g} of the {needed:g} that {train.workers.min} workers take"
    return "" if there.get("CPU", 0.0) else "CPUs: there are none yet"
