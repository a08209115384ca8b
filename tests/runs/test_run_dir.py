"""The folder of a run: one writer, whole checkpoints, its own settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.runs import run_dir
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.utils.jsonl import append_line, read_lines


def test_only_one_process_writes_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_dir, "LOCK_WAIT_S", 0.0)
    with RunDir(tmp_path).writing(), pytest.raises(UserError, match="another process"):  # noqa: SIM117
        with RunDir(tmp_path).writing():
            pass
    with RunDir(tmp_path).writing():
        assert (tmp_path / ".lock").exists()


def test_rewinding_drops_later_and_incomplete_lines(tmp_path: Path) -> None:
    folder = RunDir(tmp_path)
    files = (folder.metrics_file, folder.epochs_file, folder.warnings_file, folder.checkpoints_file)
    for file in files:
        file.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    folder.validation_file.write_text('{"step": 3}\n')
    folder.rewind(2)
    for file in files:
        assert read_lines(file) == [{"step": 1}, {"step": 2}]
    assert read_lines(folder.validation_file) == [{"step": 3}]  # of a checkpoint, which is there


def test_a_line_after_an_incomplete_one_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text('{"a": 1}\n{"a": 2, "b')
    append_line(file, {"a": 1 / 3})
    assert read_lines(file) == [{"a": 1}, {"a": 0.333333333}]


def test_a_checkpoint_request_is_consumed_once(tmp_path: Path) -> None:
    folder = RunDir(tmp_path)
    assert not folder.consume_checkpoint_request()
    folder.request_file.touch()
    assert [folder.consume_checkpoint_request(), folder.consume_checkpoint_request()] == [True, False]


def test_settings_without_effect_on_results_may_change(tmp_path: Path) -> None:
    folder = RunDir(tmp_path)
    folder.open(Config.model_validate({"train": {"checkpoint_every_steps": 10}}))
    folder.open(Config.model_validate({"train": {"checkpoint_every_steps": 20}, "ray": {"cpus": 2}}))
    assert folder.config().train.checkpoint_every_steps == 20
    with pytest.raises(UserError, match=r"seed: 0 -> 3; train\.global_batch_size: \d+ -> 7"):
        folder.open(Config.model_validate({"train": {"global_batch_size": 7}, "seed": 3}))
