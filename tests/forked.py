"""Fork server with the imports of test processes preloaded, which would take each of them four seconds.

The test process itself cannot be forked safely: it has threads and connections to Ray.
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
