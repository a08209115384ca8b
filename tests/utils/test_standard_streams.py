"""Streams that are closed, full or of few characters, and no home: the work is done, and the exit code says so."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from vicc_ray.utils.home import home

MAKING = "make-videos out --classes 2 --train 1 --test 1"
NAME = "Tänzer"


def shell(arguments: str, folder: Path, redirected: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """``vicc-ray ARGUMENTS`` with what a shell makes of its streams."""
    command = f'"{sys.executable}" -m vicc_ray {arguments} {redirected}'
    whole = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **environment}
    return subprocess.run(["bash", "-c", command], cwd=folder, env=whole, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("redirected", [">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full", "2>&1 >&-"])
def test_commands_complete_with_any_standard_streams(redirected: str, tmp_path: Path) -> None:
    done = shell(MAKING, tmp_path, redirected)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert len(list(tmp_path.glob("out/*/*.mp4"))) == 4


def test_unbuffered_streams_stay_unbuffered(tmp_path: Path) -> None:
    """Ray's job server has it so, and follows what a job prints."""
    program = "import os; from vicc_ray.utils.standard_streams import Output; Output(); print('x', end=''); os._exit(0)"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "x"


def test_output_of_a_closed_stream_never_lands_in_a_file(tmp_path: Path) -> None:
    """A file that is opened takes the lowest number that is free: that of the stream."""
    assert shell("config nothing", tmp_path, "2>&- >printed").returncode == 2
    assert (tmp_path / "printed").read_text() == ""


@pytest.mark.slow
def test_lost_output_is_an_error(tmp_path: Path) -> None:
    done = shell(MAKING, tmp_path, ">/dev/full")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(list(tmp_path.glob("out/*/*.mp4"))) == 4


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ["config demo", "--help", MAKING])
def test_a_broken_pipe_prints_no_traceback(arguments: str, tmp_path: Path) -> None:
    done = shell(arguments, tmp_path, "2>errors | true; exit ${PIPESTATUS[0]}")
    errors = (tmp_path / "errors").read_text()
    assert done.returncode in (0, 1)  # 0: it was read before it had gone
    assert "Traceback" not in errors
    assert "Broken" not in errors


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_unencodable_characters_are_escaped(environment: dict[str, str], tmp_path: Path) -> None:
    done = shell(MAKING.replace("out", NAME), tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert "4 videos in T" in done.stdout
    assert len(list((tmp_path / NAME).glob("*/*.mp4"))) == 4
    refused = shell(f"config {NAME}", tmp_path, **environment)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_a_name_that_is_not_utf8_is_printed(tmp_path: Path) -> None:
    done = shell(MAKING.replace("out", r"$'\xff'"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert r"\udcff" in done.stdout


NOBODY = """
import getpass, os, pathlib
from vicc_ray.utils.home import ensure_home
os.setgid(54321)
os.setuid(54321)
ensure_home()
print(pathlib.Path.home().stat().st_uid, oct(pathlib.Path.home().stat().st_mode & 0o777), getpass.getuser())
"""
"""A program of somebody whom no list of users has; importing Ray and torch asks for the same."""


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_a_user_without_home_and_name_gets_defaults() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        Path(temporary).chmod(0o777)
        bare = {"PYTHONPATH": str(Path(__file__).parents[1]), "TMPDIR": temporary}
        for _ in range(2):  # made, and found again
            done = subprocess.run([sys.executable, "-c", NOBODY], env=bare, capture_output=True, text=True, check=False)
            assert done.stdout == "54321 0o700 54321\n", done.stderr
        assert len(list(Path(temporary).iterdir())) == 1


def test_a_home_owned_by_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "~")  # what it is taken for where there is none
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = home()
    assert own.parent == tmp_path
    assert home() == own
    own.chmod(0o777)
    assert home() != own
