"""A run whose processes end in the middle ends as if nothing had happened. More of it: ``benchmarks/chaos.py``."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from tests.pipelines.processes import begun, kill_below, past, wait_until
from tests.pipelines.runs import computed_here, losses, rgb_alone
from vicc_ray.pipelines.pretrain import pretrain
from vicc_ray.training.run_folder import RunFolder


def test_a_run_whose_controller_and_driver_are_killed_is_undisturbed(store: Path, tmp_path: Path) -> None:
    """Classification is tested with a worker that is killed."""
    config, folder = rgb_alone(24, checkpoint_steps=4), RunFolder(tmp_path / "run")
    with begun(config, store, folder.path) as process:
        wait_until(past(folder, 0), process)
        kill_below(process, "ray::TrainController")
        wait_until(past(folder, folder.step), process)
        process.kill()
    assert 0 < folder.step < 96
    pretrain(config, store, folder.path, progress=False)
    assert losses(folder.path) == [float(f"{loss:.9g}") for loss in islice(computed_here(config, store), 96)]
    assert not list(folder.checkpoints.path.glob(".*"))
    assert len(list(folder.checkpoints.path.glob("step-*"))) == config.train.keep_checkpoints
