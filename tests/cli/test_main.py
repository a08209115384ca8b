"""Command line: exit codes, messages, help, and commands without Ray."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from vicc_ray import __version__
from vicc_ray.cli.main import build_parser, main
from vicc_ray.config import ClipConfig, ModelConfig
from vicc_ray.config.loader import load_config
from vicc_ray.export.exporter import TOLERANCE
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.weights_io import EncoderWeights, write_weights

COMMANDS = (
    "run",
    "make-videos",
    "config",
    "prepare",
    "pretrain",
    "evaluate",
    "classify",
    "report",
    "export",
    "import-weights",
    "index",
    "search",
    "serve",
    "doctor",
)


def vicc_ray(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a separate process."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "COLUMNS": "120"}
    command = [sys.executable, "-m", "vicc_ray", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, check=False)


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Error message of a call in this process that must end with exit code 2."""
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.out == ""
    return captured.err


def test_version_and_module() -> None:
    done = vicc_ray("--version")
    assert (done.returncode, done.stdout) == (0, f"vicc-ray {__version__}\n")


@pytest.mark.slow
def test_a_user_error_is_one_line_on_stderr_and_exit_code_2() -> None:
    done = vicc_ray("config", "deom")
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"error: no recipe and no file 'deom'; did you mean demo\? .*\n", done.stderr)


@pytest.mark.slow
def test_a_missing_or_unknown_command_shows_the_usage() -> None:
    for arguments in ([], ["prepair"]):
        done = vicc_ray(*arguments)
        assert done.returncode == 2
        assert "usage: vicc-ray" in done.stderr


def test_the_overview_names_every_command() -> None:
    assert [command for command in COMMANDS if f"\n    {command}" not in build_parser().format_help()] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_valid_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    examples = text[text.index("\nexample") :].replace("\\\n", " ").splitlines()[2:]
    assert examples
    for example in examples:
        words = example.partition(">")[0].split()
        assert words[:2] == ["vicc-ray", command]
        assert build_parser().parse_args(words[1:]).command is not None


def test_printed_config_is_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for extra in ([], ["--no-comments"]):
        assert main(["config", "demo", "--set", "train.global_batch_size=6", *extra]) == 0
        (tmp_path / "mine.yaml").write_text(capsys.readouterr().out)
        assert load_config(str(tmp_path / "mine.yaml")) == load_config("demo", ["train.global_batch_size=6"])


@pytest.mark.slow
def test_a_closed_output_pipe_is_not_a_crash() -> None:
    command = f"set -o pipefail; {sys.executable} -m vicc_ray config demo | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert "Traceback" not in done.stderr


def test_invalid_settings_are_reported_before_any_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ("--set", "train.global_batch_size=1")
    for command, *folders in (
        ("run", "--videos", tmp_path, "--out", tmp_path / "out"),
        ("prepare", "--videos", tmp_path, "--store", tmp_path / "out"),
        ("pretrain", "--store", tmp_path / "out", "--run", tmp_path / "out"),
    ):
        assert "train.global_batch_size: 1 given" in error_of(capsys, command, "demo", *folders, *wrong)
    assert not (tmp_path / "out").exists()


def test_missing_inputs_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    none = tmp_path / "none"
    cases: list[list[str | Path]] = [
        ["run", "demo", "--videos", none, "--out", tmp_path / "out"],
        ["prepare", "demo", "--videos", none, "--store", tmp_path / "out"],
        ["pretrain", "demo", "--store", none, "--run", tmp_path / "out"],
        ["evaluate", "--run", none, "--store", tmp_path],
        ["report", "--run", none],
        ["import-weights", none, "--out", tmp_path / "out"],
        ["index", none, "--model", none, "--index", tmp_path / "out"],
        ["search", none, "query.mp4"],
        ["serve", none],
    ]
    for arguments in cases:
        assert str(none) in error_of(capsys, *arguments)


@pytest.mark.slow
def test_the_error_names_an_unreachable_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound but not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        monkeypatch.setenv("HOME", str(tmp_path))  # the token of the account that runs the tests may be mentioned
        (tmp_path / "video.mp4").touch()
        done = vicc_ray("prepare", "demo", "--videos", tmp_path, "--store", tmp_path / "store")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Connection refused" in done.stderr
    assert address in done.stderr and "RAY_ADDRESS" in done.stderr and "6379" in done.stderr


def test_training_settings_cannot_be_overridden_in_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = error_of(capsys, "evaluate", "--run", tmp_path, "--store", tmp_path, "--set", "train.global_batch_size=4")
    assert "train.global_batch_size=4" in message and "evaluate" in message and "ray" in message


@pytest.mark.slow
def test_make_videos_writes_files_and_labels(tmp_path: Path) -> None:
    done = vicc_ray("make-videos", "out", "--classes", "2", "--train", "1", "--test", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4/4" in done.stderr
    assert len(list((tmp_path / "out").glob("*/*.mp4"))) == 4
    assert len((tmp_path / "out" / "labels.csv").read_text().splitlines()) == 5


def test_an_unwritable_output_is_a_user_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    message = error_of(capsys, "make-videos", tmp_path / "file", "--classes", "2", "--train", "1", "--quiet")
    assert str(tmp_path / "file") in message


def test_import_weights_refuses_another_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {"fc.weight": torch.zeros(1)}}, tmp_path / "other.pth.tar")
    message = error_of(capsys, "import-weights", tmp_path / "other.pth.tar", "--out", tmp_path / "out")
    assert "not a published pretraining checkpoint" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_import_weights_writes_networks_and_prints_a_record(
    golden_dir: Path,
    published_checkpoint: Callable[[Path], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint = published_checkpoint(golden_dir / "official_s3d_keys.json")
    assert main(["import-weights", str(checkpoint), "--out", str(tmp_path / "out")]) == 0
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"encoder.safetensors", "second.safetensors", "prototypes.safetensors", "import.json"}
    output, record = capsys.readouterr().out, json.loads((tmp_path / "out" / "import.json").read_text())
    printed, last = output.rsplit("tensor mapping:", 1)
    assert json.loads(printed) == {name: value for name, value in record.items() if name != "tensors"}
    assert str(tmp_path / "out" / "import.json") in last


def test_export_prints_its_files_and_refuses_other_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = ModelConfig(backbone="tiny", embed_dim=8)
    weights = EncoderWeights("flow", model, ClipConfig(frames=8, size=32), build_encoder(model).state_dict())
    write_weights(tmp_path / "it.safetensors", weights)
    given = ["export", str(tmp_path / "it.safetensors"), "--out", str(tmp_path / "out"), "--format", "safetensors"]
    assert main([*given, "--stream", "flow"]) == 0
    output = capsys.readouterr().out
    (line,) = [line for line in output.splitlines() if line.startswith(f"{tmp_path / 'out' / 'encoder.safetensors'}: ")]
    assert 0 <= float(line.split()[-1]) <= TOLERANCE
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"encoder.safetensors", "README.md"}
    message = error_of(capsys, *given)
    assert "rgb" in message and "flow" in message
    assert str(tmp_path / "nothing") in error_of(capsys, "export", tmp_path / "nothing", "--out", tmp_path / "out")


def test_plain_config_is_ordinary_yaml() -> None:
    done = vicc_ray("config", "ucf101-s3d", "--no-comments")
    assert yaml.safe_load(done.stdout)["method"]["num_prototypes"] == 300
