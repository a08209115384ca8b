"""Processes that are forked from a server that has imported what they need: each would take four seconds to do that.

And not from the process of the tests, whose threads and connections to Ray a fork does no good.
"""

from __future__ import annotations

import multiprocessing

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(
    [
        "pytest",
        "torch",
        "torch.distributed",
        "vicc_ray.training.tasks.classifier_trainer",
        "vicc_ray.training.tasks.pretrainer",
    ]
)
