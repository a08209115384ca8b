"""Fault tolerance: a run whose controller dies ends with the same losses.

A killed worker: ``tests/pipelines/train/test_classify.py``; a killed driver: ``test_job_killed.py``; repeated kills of
all of them and of nodes: ``benchmarks/chaos.py``.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from tests.pipelines.processes import kill_after_first_checkpoint
from tests.pipelines.runs import losses, reference_losses, rgb_only
from vicc_ray.pipelines.train.pretrain import pretrain
from vicc_ray.runs.run_dir import RunDir


def test_losses_are_unchanged_after_the_controller_is_killed(store: Path, tmp_path: Path) -> None:
    config, folder = rgb_only(24, checkpoint_every_steps=4), RunDir(tmp_path / "run")
    with kill_after_first_checkpoint("ray::TrainController", folder):
        pretrain(config, store, folder.path, progress=False)
    assert losses(folder.path) == [float(f"{loss:.9g}") for loss in islice(reference_losses(config, store), 96)]
    assert not list(folder.checkpoints.path.glob(".*"))
    assert len(list(folder.checkpoints.path.glob("step-*"))) == config.train.keep_last
