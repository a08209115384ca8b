"""Session folder of a local Ray: short path, private, owned by this process, removed at its end."""

from __future__ import annotations

import logging
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster import session_dir as module
from vicc_ray.pipelines.cluster.session_dir import session_dir
from vicc_ray.utils.fs import folder_lock

SESSION = "session_2026-01-01_00-00-00_000000_4194304/sockets"


@pytest.fixture
def short() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def _without_test_tmpdir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)


def bind_socket(folder: Path) -> None:
    (folder / "r" / SESSION).mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(folder / "r" / SESSION / "plasma_store"))


def too_long(tmp_path: Path) -> Path:
    return tmp_path / ("long" * 20)


def below_a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "below"


@pytest.mark.parametrize("unusable", [too_long, below_a_file])
def test_unusable_tmpdir_is_replaced_with_one_warning(
    unusable: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = unusable(tmp_path)
    monkeypatch.setenv("TMPDIR", str(wanted))
    with caplog.at_level(logging.WARNING, "vicc_ray"), session_dir() as folder:
        assert wanted not in folder.path.parents
        bind_socket(folder.path)
    assert len(caplog.records) == 1
    assert "TMPDIR" in caplog.text and str(wanted) in caplog.text and str(folder.path.parent) in caplog.text


def test_folder_is_private_and_is_removed_with_its_sockets(monkeypatch: pytest.MonkeyPatch, short: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(short))
    with session_dir() as folder:
        assert folder.path.parent == short
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
        bind_socket(folder.path)
    assert not folder.path.exists()


@pytest.mark.parametrize("writable", [".", "above"])
def test_tmpdir_below_a_world_writable_folder_is_not_used(
    writable: str, monkeypatch: pytest.MonkeyPatch, short: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = short / "above" / "t"
    wanted.mkdir(parents=True)
    (wanted / writable if writable == "." else wanted.parent).chmod(0o777)
    monkeypatch.setenv("TMPDIR", str(wanted))
    with caplog.at_level(logging.WARNING, "vicc_ray"), session_dir() as folder:
        assert wanted not in folder.path.parents
    assert str(wanted) in caplog.text


def test_world_writable_tmpdir_without_an_alternative_is_used_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, short: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a pod, whose temporary folder is world-writable and which has no other users."""
    short.chmod(0o777)
    monkeypatch.setenv("TMPDIR", str(short))
    monkeypatch.setattr(module, "ELSEWHERE", ())
    with caplog.at_level(logging.WARNING, "vicc_ray"), session_dir() as folder:
        assert folder.path.parent == short
    assert str(short) in caplog.text


@pytest.mark.parametrize("name", ["vicc-store", "vicc-12345678"])
def test_clip_store_with_a_session_folders_name_is_kept(
    name: str, monkeypatch: pytest.MonkeyPatch, short: Path
) -> None:
    store = short / name
    store.mkdir()
    with folder_lock(store):
        (store / "store.json").write_text("{}")
    monkeypatch.setenv("TMPDIR", str(short))
    with session_dir():
        assert (store / "store.json").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another account")
def test_named_pipe_of_another_user_is_left_alone(monkeypatch: pytest.MonkeyPatch, short: Path) -> None:
    """Opening it would block forever."""
    trap = short / "vicc-trap0008"
    trap.mkdir()
    os.mkfifo(trap / module.LOCK)
    for path in (trap, trap / module.LOCK):
        os.chown(path, 65534, 65534)
    done = subprocess.run(
        [sys.executable, "-c", ENTERED], env={**os.environ, "TMPDIR": str(short)}, capture_output=True, timeout=60
    )
    assert done.returncode == 0 and trap.exists()


def test_full_disk_error_states_free_and_needed_space(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"MiB free of the 9\d{11} .*TMPDIR"), session_dir(more_mb=9 * 10**11):
        pass


def test_error_without_a_writable_folder_names_each_candidate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wanted, other = below_a_file(tmp_path), too_long(tmp_path)
    monkeypatch.setenv("TMPDIR", str(wanted))
    monkeypatch.setattr(module, "ELSEWHERE", (other,))
    with pytest.raises(UserError) as error, session_dir():
        pass
    assert str(wanted) in str(error.value) and str(other) in str(error.value)


ENTERED = """
from vicc_ray.pipelines.cluster.session_dir import session_dir
with session_dir():
    pass
"""
KILLED = """
import os, signal, sys
from vicc_ray.pipelines.cluster.session_dir import session_dir
with session_dir() as folder:
    print(folder.path, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_next_session_removes_folders_of_killed_processes_and_keeps_those_in_use(
    monkeypatch: pytest.MonkeyPatch, short: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(short))
    with session_dir() as in_use:
        done = subprocess.run([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
        left = Path(done.stdout.strip())
        assert left.exists() and left.parent == in_use.path.parent
        with session_dir():
            assert not left.exists() and in_use.path.exists()
