"""Fault tolerance: a run whose controller dies ends with the same losses.

Worker: ``tests/pipelines/train/test_classify.py``; driver: ``test_job_killed.py``; all of them and nodes, many times:
``benchmarks/chaos.py``.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from tests.pipelines.processes import killed_here
from tests.pipelines.runs import computed_here, losses, rgb_alone
from vicc_ray.pipelines.train.pretrain import pretrain
from vicc_ray.runs.run_dir import RunDir


def test_a_run_whose_controller_is_killed_is_undisturbed(store: Path, tmp_path: Path) -> None:
    config, folder = rgb_alone(24, checkpoint_every_steps=4), RunDir(tmp_path / "run")
    with killed_here("ray::TrainController", folder):
        pretrain(config, store, folder.path, progress=False)
    assert losses(folder.path) == [float(f"{loss:.9g}") for loss in islice(computed_here(config, store), 96)]
    assert not list(folder.checkpoints.path.glob(".*"))
    assert len(list(folder.checkpoints.path.glob("step-*"))) == config.train.keep_last
