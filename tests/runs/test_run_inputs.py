"""A run goes on with what it was trained on and with nothing else, wherever that lies."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.pipelines.runs import settings
from tests.stored import Row, store_of, video
from vicc_ray.config import Config, PrepareConfig
from vicc_ray.errors import UserError
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.weights_io import EncoderWeights
from vicc_ray.runs.checkpoint_state import STATE, take_snapshot
from vicc_ray.runs.initial_checkpoint import (
    InitialCheckpoint,
    record_initial_checkpoint,
    require_remaining_epochs,
    resolve_initial_checkpoint,
)
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.training.tasks.classification import Classification, free_settings
from vicc_ray.training.tasks.pretraining import Pretraining

TRAINED = 16
VIDEOS = [*map(video, range(TRAINED)), *(video(n, split="test") for n in range(TRAINED, TRAINED + 4))]


def changed(n: int, **changes: Any) -> list[Row]:
    return [{**row, **changes} if k == n else row for k, row in enumerate(VIDEOS)]


OTHERS: dict[str, tuple[list[Row], PrepareConfig, list[str]]] = {
    "more": ([*VIDEOS, *map(video, range(90, 98))], PrepareConfig(short_side=32), ["16 ", "24 ", "steps", "phases"]),
    "fewer": (VIDEOS[1:], PrepareConfig(short_side=32), ["16 ", "15 "]),
    "renamed": (changed(0, id="zzz.mp4"), PrepareConfig(short_side=32), ["training videos"]),
    "replaced": (changed(0, content="f" * 32), PrepareConfig(short_side=32), ["training videos"]),
    "shortened": (changed(0, frames=19), PrepareConfig(short_side=32), ["training videos"]),
    "prepared otherwise": (VIDEOS, PrepareConfig(short_side=64), ["prepare.short_side", "32", "64"]),
}
SAME: dict[str, tuple[list[Row], int, PrepareConfig]] = {
    "at another path": (VIDEOS, 1, PrepareConfig(short_side=32)),
    "in other shards, listed in another order": (VIDEOS[::-1], 3, PrepareConfig(short_side=32, videos_per_shard=8)),
    "with another label": (changed(0, label="c"), 1, PrepareConfig(short_side=32)),  # no label is looked at
    "with more test videos": ([*VIDEOS, video(99, split="test")], 1, PrepareConfig(short_side=32)),
}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run of three phases that ended."""
    task = Pretraining(settings(), store_of(tmp_path / "store", VIDEOS))
    folder = RunDir(tmp_path / "run")
    folder.open(task.config, inputs=task.inputs)
    save(folder, task)
    return folder


def save(folder: RunDir, task: Pretraining | Classification, step: int = 0) -> Path:
    """The checkpoint of the end of the last phase, or of a step."""
    phase = task.phases[-1]
    path = folder.checkpoints.path / (folder.checkpoints.step(step) if step else f"phase-{phase.index}-{phase.name}")
    trainer = task.trainer(torch.device("cpu"))
    trainer.start_phase(phase)
    step = step or task.sampler.first_step(phase.last_epoch)
    epoch, inputs = task.sampler.epoch_at(step), task.inputs.as_json()
    path.mkdir(parents=True)
    take_snapshot(trainer, step, epoch, task.config.model_dump(mode="json"), inputs).write(path)
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("other", OTHERS)
def test_a_run_does_not_resume_with_other_videos(run: RunDir, tmp_path: Path, other: str) -> None:
    rows, prepare, named = OTHERS[other]
    task = Pretraining(settings(), store_of(tmp_path / "other", rows, settings=prepare))
    before = files(run.path)
    with pytest.raises(UserError) as refused:
        run.open(task.config, inputs=task.inputs)
    assert all(word in str(refused.value) for word in [*named, str(run.path), "--init-from", str(run.checkpoints.path)])
    assert files(run.path) == before


@pytest.mark.parametrize("same", SAME)
def test_a_run_resumes_with_the_same_videos_in_another_place(run: RunDir, tmp_path: Path, same: str) -> None:
    rows, shards, prepare = SAME[same]
    task = Pretraining(settings(), store_of(tmp_path / "elsewhere", rows, shards, prepare))
    run.open(task.config, inputs=task.inputs)


def test_changed_labels_that_move_the_validation_split_are_refused(tmp_path: Path) -> None:
    config = settings(train={"global_batch_size": 4, "validation_fraction": 0.25})
    folder, task = RunDir(tmp_path / "held"), Pretraining(config, store_of(tmp_path / "store", VIDEOS))
    folder.open(config, inputs=task.inputs)
    save(folder, task)
    others = Pretraining(config, store_of(tmp_path / "other", [{**row, "label": "c"} for row in VIDEOS]))
    with pytest.raises(UserError, match="training videos"):
        folder.open(config, inputs=others.inputs)


def test_an_untrained_run_may_change_its_videos(tmp_path: Path) -> None:
    folder = RunDir(tmp_path / "run")
    for name, rows in (("one", VIDEOS), ("other", VIDEOS[2:])):
        task = Pretraining(settings(), store_of(tmp_path / name, rows))
        folder.open(task.config, inputs=task.inputs)
    save(folder, task)
    folder.check_inputs(task.inputs)


def test_a_run_without_an_inputs_record_does_not_resume(run: RunDir, tmp_path: Path) -> None:
    task = Pretraining(settings(), store_of(tmp_path / "store", VIDEOS))
    run.inputs_file.unlink()
    with pytest.raises(UserError, match=r"inputs\.json.*--init-from"):
        run.open(task.config, inputs=task.inputs)


def test_checkpoints_of_another_run_are_refused(run: RunDir, tmp_path: Path) -> None:
    task = Pretraining(settings(), store_of(tmp_path / "other", OTHERS["more"][0]))
    copied = RunDir(tmp_path / "copied")
    copied.open(task.config, inputs=task.inputs)
    shutil.copytree(run.checkpoints.path, copied.checkpoints.path, dirs_exist_ok=True)
    with pytest.raises(UserError, match="training videos: 16 .*-> 24"):
        copied.check_inputs(task.inputs)


def begun(folder: RunDir, config: Config, store: Path, start: Path | None) -> None:
    """What `pretrain` does before it trains."""
    task = Pretraining(config, store_of(store, VIDEOS))
    folder.check(config, inputs=task.inputs)
    point = resolve_initial_checkpoint(folder, start)
    folder.open(config, inputs=task.inputs)
    record_initial_checkpoint(folder, point)


def test_a_fork_resumes_with_its_own_checkpoint_only(run: RunDir, tmp_path: Path) -> None:
    fork, store, one = RunDir(tmp_path / "fork"), tmp_path / "store", run.checkpoints.path / "phase-2-rgb-stage2-1"
    task = Pretraining(settings(), store_of(store, VIDEOS))
    other = save(run, task, step=3)
    begun(fork, settings(), store, one)
    with pytest.raises(UserError, match=f"--init-from {other}: .*{one}"):
        begun(fork, settings(), store, other)
    with pytest.raises(UserError, match=r"--init-from"):  # it has no checkpoint of its own yet
        begun(fork, settings(), store, None)
    shutil.copytree(one, tmp_path / "moved")
    begun(fork, settings(), store, tmp_path / "moved")
    save(fork, task, step=3)
    begun(fork, settings(), store, None)
    with pytest.raises(UserError, match=f"--init-from {other}"):
        begun(fork, settings(), store, other)


def test_a_run_with_fresh_weights_cannot_become_a_fork(run: RunDir, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--init-from"):
        begun(run, settings(), tmp_path / "store", run.checkpoints.path / "phase-2-rgb-stage2-1")


def test_a_fork_of_a_finished_run_is_refused(run: RunDir) -> None:
    """It would end at once without a checkpoint of its own."""
    end = InitialCheckpoint.of(run.checkpoints.path / "phase-2-rgb-stage2-1")
    with pytest.raises(UserError, match=f"--init-from {end.checkpoint}: .* 3 epochs"):
        require_remaining_epochs(end, 3)
    require_remaining_epochs(end, 4)


def weights() -> EncoderWeights:
    config = settings()
    torch.manual_seed(0)
    return EncoderWeights("rgb", config.model, config.clip, build_encoder(config.model).state_dict(), {})


@pytest.mark.parametrize("other", [*OTHERS, "with another label"])
def test_a_classification_does_not_resume_with_other_videos_or_labels(tmp_path: Path, other: str) -> None:
    config = settings(classify={"stream": "rgb", "mode": "probe", "global_batch_size": 4, "probe_epochs": 2})
    folder, free = RunDir(tmp_path / "rgb-probe"), free_settings("probe")

    def go_on(path: Path, rows: list[Row], prepare: PrepareConfig) -> Classification:
        task = Classification(config, store_of(path, rows, settings=prepare), folder)
        folder.open(config, free, task.inputs)
        task.record_start(weights())
        return task

    rows, prepare = (OTHERS[other][0], OTHERS[other][1]) if other in OTHERS else (SAME[other][0], SAME[other][2])
    save(folder, go_on(tmp_path / "store", VIDEOS, PrepareConfig(short_side=32)))
    go_on(tmp_path / "moved", VIDEOS, PrepareConfig(short_side=32))
    with pytest.raises(UserError) as refused:
        go_on(tmp_path / "other", rows, prepare)
    assert "training videos" in str(refused.value) and "--init-from" not in str(refused.value)
    assert (folder.checkpoints.path / "phase-0-rgb-probe" / STATE).exists()
