"""Sandbox of the process that decodes untrusted files."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import vicc_ray
from tests.search.decoding import pid_of, read
from tests.search.made import SPEC
from vicc_ray.search.server.decode_pool import DecodePool
from vicc_ray.search.server.sandbox import isolated_command
from vicc_ray.video.decode import VideoError

INSPECT = """
import os, socket, stat, sys
from vicc_ray.search.server import decode_worker

def kinds():
    for descriptor in range(3, 256):
        try:
            yield stat.S_IFMT(os.fstat(descriptor).st_mode)
        except OSError:
            pass

open_kinds = list(kinds())
pipe = socket.socket(fileno=int(sys.argv[-1]))
socket.recv_fds(pipe, 4096, 1)
report = open_kinds.count(stat.S_IFREG), open_kinds.count(stat.S_IFSOCK), "AWS_SECRET_ACCESS_KEY" in os.environ
decode_worker.send_text(pipe, decode_worker.NOT_A_VIDEO, " ".join(map(str, report)))
"""
"""The process reports on itself, because only root may inspect another one."""


@pytest.mark.slow
def test_the_process_has_neither_the_environment_nor_the_descriptors_of_the_server(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "much-wanted")
    with Path(__file__).open("rb") as inherited:
        os.set_inheritable(inherited.fileno(), True)
        processes = DecodePool(1, SPEC, 60, (sys.executable, "-c", INSPECT))
        with pytest.raises(VideoError) as report:
            read(processes, video)
    processes.close()
    files, sockets, secret = str(report.value).split()
    assert (files, sockets, secret) == ("0", "1", "False")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limits are read in /proc")
def test_the_process_has_restricted_privileges(video: Path) -> None:
    processes = DecodePool(1, SPEC, 60)
    read(processes, video)
    about = Path(f"/proc/{pid_of(processes)}")
    limits = {line[:25].strip(): line[25:].split()[:2] for line in (about / "limits").read_text().splitlines()}
    for name in ("Max file size", "Max core file size", "Max processes"):
        assert limits[name] == ["0", "0"]
    assert "NoNewPrivs:\t1" in (about / "status").read_text()
    processes.close()


@pytest.mark.slow
def test_it_decodes_without_the_right_to_open_files_or_start_threads(video: Path) -> None:
    """As user nobody: the limit of processes does not apply to root."""
    code = (
        "import os; from vicc_ray.search.server.decode_worker import main\n"
        "if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "main()"
    )
    video.chmod(0o600)
    processes = DecodePool(1, SPEC, 60, (sys.executable, "-c", code))
    assert len(read(processes, video)) == 1
    processes.close()


TRIED = """
import ctypes, fcntl, os, resource, signal, socket, struct, sys
from pathlib import Path
from vicc_ray.search.server import decode_worker, sandbox

FIOSETOWN, FIOASYNC = 0x8901, 0x5452
MADVISE, RT_SIGQUEUEINFO, PRCTL, TIMER_CREATE, TGKILL, MADV_NORMAL = 28, 129, 157, 222, 234, 0

def tried(what):
    try:
        what()
    except (OSError, RuntimeError) as error:
        return type(error).__name__
    return "done"

def call(number, *arguments):
    if ctypes.CDLL(None, use_errno=True).syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

pipe = socket.socket(fileno=int(sys.argv[-1]))
parent = os.getppid()
call(39)
page = ctypes.c_void_p(ctypes.addressof(ctypes.create_string_buffer(8192)) & -4096)
decode_worker._warm_up()
sandbox.drop_privileges()
results = [
    tried(lambda: os.open("/etc/passwd", os.O_RDONLY)),
    tried(lambda: os.open("/tmp/made", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)),
    tried(lambda: socket.socket()),
    tried(lambda: os.fork() or os._exit(0)),
    tried(lambda: os.execv("/bin/true", ["true"])),
    tried(lambda: os.kill(parent, 0)),
    tried(lambda: os.unlink("/tmp/made")),
    tried(lambda: open(f"/proc/{parent}/mem", "rb")),
    tried(lambda: fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGURG)),
    tried(lambda: fcntl.fcntl(pipe, fcntl.F_SETOWN, parent)),
    tried(lambda: fcntl.fcntl(pipe, fcntl.F_SETFL, os.O_ASYNC | os.O_RDWR)),
    tried(lambda: fcntl.ioctl(pipe, FIOSETOWN, struct.pack("i", parent))),
    tried(lambda: fcntl.ioctl(pipe, FIOASYNC, struct.pack("i", 1))),
    tried(lambda: os.sched_setaffinity(parent, [0])),
    tried(lambda: os.setpriority(os.PRIO_PROCESS, parent, 19)),
    tried(lambda: resource.prlimit(parent, resource.RLIMIT_CORE)),
    tried(lambda: call(RT_SIGQUEUEINFO, parent, 0, None)),
    tried(lambda: call(TGKILL, parent, parent, 0)),
    tried(lambda: call(TIMER_CREATE, 0, None, page)),
    tried(lambda: call(PRCTL, 4, 1, 0, 0, 0)),
    tried(lambda: call(MADVISE, page, 4096, MADV_NORMAL)),
]
socket.recv_fds(pipe, 4096, 1)
decode_worker.send_text(pipe, decode_worker.NOT_A_VIDEO, " ".join(results))
"""


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the filter is of Linux on x86-64"
)
def test_a_compromised_decoder_is_confined(video: Path) -> None:
    processes = DecodePool(1, SPEC, 60, (sys.executable, "-c", TRIED))
    with pytest.raises(VideoError) as results:
        read(processes, video)
    processes.close()
    assert str(results.value).split() == ["PermissionError"] * TRIED.count("    tried(")


def test_the_package_folder_comes_after_the_standard_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel is installed among other packages, which may include old backports."""
    (tmp_path / "wheel.py").write_text("import typing\ndef main(): print(typing.__file__)")
    (tmp_path / "typing.py").write_text("raise SystemExit(7)")
    others = [path for path in sys.path if Path(path).resolve() != Path(vicc_ray.__file__).parents[1]]
    monkeypatch.setattr(sys, "path", [*others, str(tmp_path)])
    monkeypatch.setattr(vicc_ray, "__file__", str(tmp_path / "vicc_ray" / "__init__.py"))
    run = subprocess.run(isolated_command("wheel"), capture_output=True, text=True)
    assert run.stdout.strip() == typing.__file__


@pytest.mark.slow
def test_no_module_is_imported_from_the_current_folder(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("signal", "cv2", "vicc_ray", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    processes = DecodePool(1, SPEC, 60)
    assert len(read(processes, video)) == 1
    processes.close()
