"""Sandbox of the processes that decode untrusted files, as far as the operating system supports it."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

import vicc_ray
from vicc_ray.search.server.seccomp import restrict_system_calls

MEMORY = 6 * 2**30
"""Address space in bytes: enough to decode one frame of 16,384 x 16,384, but not many."""
FILES = 32
"""Most open files; a decoder needs three."""
KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "PYTHONHOME", "SYSTEMROOT")
"""Environment variables that Python may need to start; none holds a secret."""
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38


def bare_environment() -> dict[str, str]:
    """Environment of a sandboxed process, without tokens and keys."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")}


def isolated_command(module: str) -> list[str]:
    """Command that runs ``main`` of a module with the import path of this process, but without the current folder,
    which may be untrusted."""
    paths, package = [path for path in sys.path if path], Path(vicc_ray.__file__).parents[1]
    if package.resolve() not in [Path(path).resolve() for path in paths]:
        paths.insert(0, str(package))
    code = f"import sys; sys.path[:] = {paths!a}; from {module} import main; main()"
    return [sys.executable, "-I", "-B", "-c", code]


def drop_privileges() -> None:
    """Limit memory, processes, files, core dumps, privileges and system calls to what decoding needs.

    Call it after all libraries are imported and have been used once.
    """
    limits = {"AS": MEMORY, "CORE": 0, "FSIZE": 0, "NOFILE": FILES, "NPROC": 0}
    for name, most in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (value, value))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing raises an error instead of ending the process
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    restrict_system_calls()
