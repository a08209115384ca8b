"""Folders of runs that somebody else made: used, or told with the file; nothing is written through a link in them."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.training.fixtures import small_config, started
from vicc_ray.errors import UserError
from vicc_ray.export.pretrained import find_weights
from vicc_ray.reports.run.data import read_figures
from vicc_ray.runs.checkpoint_manager import SCORE, CheckpointManager
from vicc_ray.runs.checkpoint_state import (
    MODEL,
    OPTIMIZER,
    STATE,
    load_model,
    load_progress,
    load_prototypes,
    read_state,
    take_snapshot,
)
from vicc_ray.runs.initial_checkpoint import START_FILE, resolve_initial_checkpoint
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.runs.run_inputs import RunInputs
from vicc_ray.sweep.trial import read_curve, training_seconds
from vicc_ray.training.monitoring.run_logger import RunLogger
from vicc_ray.training.trackers.run_id import persistent_run_id
from vicc_ray.utils.fs import folder_lock
from vicc_ray.utils.jsonl import append_line, read_lines

STEP = {
    "step": 1,
    "epoch": 0.5,
    "phase": "rgb-stage2-1",
    "stage": 2,
    "stream": "rgb",
    "samples": 8,
    "data_ms": 1.0,
    "compute_ms": 2.0,
}
CHECK = {
    "step": 1,
    "epoch": 1,
    "phase": "rgb-stage2-1",
    "stream": "rgb",
    "recall_at_1": 0.5,
    "low": 0.4,
    "high": 0.6,
    "videos": 9,
}
CONFIG = small_config()


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """With one checkpoint, of three steps."""
    folder = RunDir(tmp_path / "run")
    folder.open(CONFIG)
    with folder.checkpoints.commit("step-00000003") as tmp:
        take_snapshot(started(CONFIG, "rgb-stage1"), 3, 0.75, CONFIG.model_dump(mode="json")).write(tmp)
    folder.metrics_file.write_text(json.dumps(STEP) + "\n")
    folder.validation_file.write_text(json.dumps(CHECK) + "\n")
    return folder


def checkpoint(run: RunDir) -> Path:
    return run.checkpoints.path / "step-00000003"


STATES: dict[str, Any] = {
    "a list": [],
    "no step": {"format": 3},
    "a step below 0": {"step": -1},
    "a step that is text": {"step": "3"},
    "a step that is true": {"step": True},
    "a step without end": {"step": 10**300},
    "an epoch that is text": {"epoch": "1"},
    "an epoch that is none": {"epoch": float("nan")},
    "a phase that is there in no run": {"phase": 10**6},
    "a phase below 0": {"phase": -1},
    "settings that are text": {"settings": "a"},
    "settings that cannot be": {"settings": {"train": {"global_batch_size": "many"}}},
    "settings of endless phases": {"settings": {"schedule": {"cycles": 10**12}}},
    "inputs that are none": {"inputs": {"videos": "a"}},
    "groups that are text": {"groups": "a"},
    "another format": {"format": [3]},
}


@pytest.mark.parametrize("change", STATES)
def test_an_invalid_state_is_refused(run: RunDir, change: str) -> None:
    file, given = checkpoint(run) / STATE, STATES[change]
    before = json.loads(file.read_text())
    changed = {**before, **given} if isinstance(given, dict) and change != "no step" else given
    file.write_text(json.dumps(changed))
    with pytest.raises(UserError, match="step-00000003"):
        find_weights(checkpoint(run))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 20_000, b'{"format": ' + b"9" * 5000 + b"}"])
def test_a_state_that_is_not_json_is_refused(run: RunDir, content: bytes) -> None:
    (checkpoint(run) / STATE).write_bytes(content)
    for read in (lambda: read_state(checkpoint(run)), lambda: run.step, lambda: run.checkpoints.newest()):
        with pytest.raises(UserError, match="step-00000003"):
            read()


GROUPS: list[Any] = [[], [{}], [{"params": "a"}], [{"params": [10**6]}]]


@pytest.mark.parametrize("groups", GROUPS, ids=str)
def test_a_mismatched_optimizer_state_is_refused(run: RunDir, groups: Any) -> None:
    file = checkpoint(run) / STATE
    file.write_text(json.dumps({**json.loads(file.read_text()), "groups": groups}))
    with pytest.raises(UserError, match=OPTIMIZER):
        load_progress(checkpoint(run), started(CONFIG, "rgb-stage1"))


@pytest.mark.parametrize("name", ["a", "a.b", "0"])
def test_tensors_with_unexpected_names_are_refused(run: RunDir, name: str) -> None:
    trainer = started(CONFIG, "rgb-stage1")
    progress = {f"progress.{key}": value for key, value in trainer.progress_tensors().items()}
    save_file({**progress, name: torch.zeros(3)}, checkpoint(run) / OPTIMIZER)
    with pytest.raises(UserError, match=OPTIMIZER):
        load_progress(checkpoint(run), trainer)
    save_file({name: torch.zeros(3)}, checkpoint(run) / MODEL)
    for load in (lambda: load_model(checkpoint(run), trainer), lambda: load_prototypes(checkpoint(run), "rgb")):
        with pytest.raises(UserError, match=MODEL):
            load()


def header(description: bytes) -> bytes:
    return len(description).to_bytes(8, "little") + description


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 8, header(b"{"), header(b"[" * 20_000), header(b'{"a": 3}'),
     header(b'{"a": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 4000000000000]}}'),
     header(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}'),
     header(b'{"a": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]}}')],
    ids=lambda content: content[8:60],
)  # fmt: skip
def test_tensors_missing_from_the_file_are_reported(run: RunDir, content: bytes) -> None:
    (checkpoint(run) / MODEL).write_bytes(content)
    with pytest.raises(UserError, match=MODEL):
        load_model(checkpoint(run), started(CONFIG, "rgb-stage1"))


def test_a_checkpoint_that_is_a_pipe_does_not_block(run: RunDir) -> None:
    (checkpoint(run) / MODEL).unlink()
    os.mkfifo(checkpoint(run) / MODEL)
    with pytest.raises(UserError, match=MODEL):
        load_prototypes(checkpoint(run), "rgb")


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"score": "a"}', '{"score": 1, "validation_set": 3}', "{", "[" * 20_000]
)
def test_an_invalid_score_is_refused(run: RunDir, content: str) -> None:
    run.checkpoints.keep_best("step-00000003", "rgb", 0.5)
    (run.checkpoints.path / "best-rgb-00000003" / SCORE).write_text(content)
    with pytest.raises(UserError, match=SCORE):
        run.checkpoints.keep_best("step-00000003", "rgb", 0.9)


INPUTS = RunInputs(1, "a", {}, 1.0, {})


@pytest.mark.parametrize("content", ["[]", "{}", '{"videos": "a"}', '{"more": 1}', "{", "[" * 20_000])
def test_invalid_inputs_and_starting_points_are_refused(run: RunDir, content: str) -> None:
    run.inputs_file.write_text(content)
    with pytest.raises(UserError, match=run.inputs_file.name):
        run.check_inputs(INPUTS)
    (run.path / START_FILE).write_text(content)
    with pytest.raises(UserError, match=START_FILE):
        resolve_initial_checkpoint(run, None)


READERS: dict[str, tuple[Callable[[RunDir], object], ...]] = {
    "metrics.jsonl": (
        lambda run: read_curve(run), lambda run: training_seconds(run), lambda run: run.rewind(0),
        lambda run: read_figures(run.path, None), lambda run: RunLogger(run, CONFIG, 0),
    ),
    "validation.jsonl": (lambda run: read_curve(run), lambda run: read_figures(run.path, None)),
    "epochs.jsonl": (lambda run: run.rewind(0), lambda run: read_figures(run.path, None)),
    "warnings.jsonl": (lambda run: run.rewind(0),),
    "checkpoints.jsonl": (lambda run: run.rewind(0),),
    "samples.jsonl": (lambda run: run.rewind(0),),
    "stage_times.jsonl": (lambda run: read_figures(run.path, None),),
}  # fmt: skip
LINES = [
    '{"step": "1", "seconds": ""}', '{"step": 1e999, "stage": 3}', '{"step": null, "phase": 3, "stage": null}',
    '{"step": true, "stage": []}', '{"step": ' + "9" * 300 + ', "seconds": null}',
    '{"step": [], "phase": {}, "stage": "2", "seconds": "x"}',
]  # fmt: skip


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:30])
@pytest.mark.parametrize("name", READERS)
def test_an_invalid_line_is_refused_with_its_number(run: RunDir, name: str, line: str) -> None:
    (run.path / name).write_text(f'{{"half": \n{line}\n')
    for read in READERS[name]:
        with pytest.raises(UserError, match=f"{name}, line 2"):
            read(run)


def test_a_line_with_missing_keys_is_refused(run: RunDir) -> None:
    run.metrics_file.write_text('{"a": 1}\n')
    for read in (read_curve, training_seconds, lambda run: run.rewind(0), lambda run: RunLogger(run, CONFIG, 0)):
        with pytest.raises(UserError, match=r"metrics\.jsonl, line 1"):
            read(run)
    run.metrics_file.write_text(json.dumps(STEP) + "\n")
    run.validation_file.write_text('{"step": 1}\n')
    with pytest.raises(UserError, match=r"validation\.jsonl, line 1"):
        read_curve(run)


@pytest.mark.parametrize("torn", [b'{"step": 1', b"\xff\xfe", b"[" * 20_000, b"9" * 5000, b"[]", b""])
def test_an_incomplete_last_line_is_ignored(tmp_path: Path, torn: bytes) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(json.dumps(STEP).encode() + b"\n" + torn)
    assert read_lines(file) == [STEP]
    append_line(file, STEP)
    assert read_lines(file) == [STEP, STEP]


def test_invalid_restart_lines_are_ignored(run: RunDir) -> None:
    run.restarts.file.write_text('{"step": 1}\n{"step": 1, "workers": "two"}\n{"step": 1, "workers": 2}\n')
    assert run.restarts.workers() == [2]


def test_pipes_and_devices_are_neither_waited_for_nor_read(run: RunDir) -> None:
    for name in ("metrics.jsonl", "pause", "config.yaml", "inputs.json"):
        (run.path / name).unlink(missing_ok=True)
        os.mkfifo(run.path / name)
    readers: tuple[Callable[[], object], ...] = (
        lambda: read_lines(run.metrics_file),
        lambda: run.paused,
        lambda: run.config(),
        lambda: run.check_inputs(INPUTS),
    )
    for read in readers:
        with pytest.raises(UserError, match=str(run.path)):
            read()


@pytest.mark.parametrize("name", ["restarts.jsonl", ".lock"])
def test_symbolic_links_are_never_written_through(run: RunDir, tmp_path: Path, name: str) -> None:
    """Else a run's folder from elsewhere could have any file of the user's changed."""
    own = tmp_path / "own"
    own.write_text("mine\n")
    (run.path / name).symlink_to(own)
    with pytest.raises(UserError, match=name), ExitStack() as stack:
        stack.enter_context(folder_lock(run.path)) if name == ".lock" else run.restarts.record_error("it ended")
    assert own.read_text() == "mine\n"


@pytest.mark.parametrize("identity", ["../../etc", "a/b", "a\nb", "", "a" * 300, "\x1b[2J"])
def test_an_invalid_tracker_run_id_is_refused(tmp_path: Path, identity: str) -> None:
    assert persistent_run_id(tmp_path, "wandb", lambda: "0a1b2c3d") == "0a1b2c3d"
    (tmp_path / "trackers" / "wandb").write_text(identity)
    with pytest.raises(UserError, match="wandb"):
        persistent_run_id(tmp_path, "wandb", lambda: "new")


@pytest.mark.parametrize("count", ["a", "-1", "", "9" * 5000, "1.5"])
def test_an_invalid_count_of_logged_validations_is_refused(run: RunDir, count: str) -> None:
    (run.path / "trackers").mkdir(exist_ok=True)
    (run.path / "trackers" / "validation").write_text(count)
    journal = RunLogger(run, CONFIG, 3)
    with pytest.raises(UserError, match="validation"):
        journal._forward_validation()


def test_folders_that_are_not_checkpoints_are_ignored(run: RunDir) -> None:
    (run.checkpoints.path / "step-x").mkdir()
    (run.checkpoints.path / "link").symlink_to("/")
    newest = CheckpointManager(run.checkpoints.path).newest()
    assert newest is not None
    assert newest.name == "step-00000003"


def test_an_endless_line_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    append_line(file, STEP)
    os.truncate(file, 2**29)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=rf"{file}, line 2"):
            read_lines(file)
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()
