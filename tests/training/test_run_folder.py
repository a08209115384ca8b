"""The folder of a run: one writer, whole checkpoints, its own settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.training import run_folder
from vicc_ray.training.json_lines import read_lines
from vicc_ray.training.run_folder import RunFolder


def test_one_process_writes_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "LOCK_WAIT_S", 0.0)
    with RunFolder(tmp_path).writing(), pytest.raises(UserError, match="another process is training"):  # noqa: SIM117
        with RunFolder(tmp_path).writing():
            pass
    with RunFolder(tmp_path).writing():
        assert (tmp_path / ".lock").exists()


def test_an_interrupted_checkpoint_is_absent(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(FileNotFoundError), folder.publish("step-00000001") as aside:
        (aside / "no folder" / "state.json").write_text("")
    assert folder.newest() is None
    assert not (tmp_path / "checkpoints" / "step-00000001").exists()


def test_rewinding_drops_later_lines_and_a_half_written_one(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for file in (folder.metrics_file, folder.epochs_file, folder.warnings_file):
        file.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    folder.rewind(2)
    for file in (folder.metrics_file, folder.epochs_file, folder.warnings_file):
        assert read_lines(file) == [{"step": 1}, {"step": 2}]


def test_settings_that_change_no_result_may_change(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.open(Config.model_validate({"train": {"checkpoint_steps": 10}}))
    folder.open(Config.model_validate({"train": {"checkpoint_steps": 20}, "ray": {"cpus": 2}}))
    assert folder.config().train.checkpoint_steps == 20
    with pytest.raises(UserError, match=r"seed: 0 -> 3; train\.batch: \d+ -> 7"):
        folder.open(Config.model_validate({"train": {"batch": 7}, "seed": 3}))
