"""What a process that decodes files of strangers may not do any more, as far as the system lets it say so."""

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
"""Bytes of addresses that a process may have: a picture of 16,384 x 16,384 decodes, a flood of them does not."""
FILES = 32
"""Descriptors at once; a decoder needs three."""
KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "PYTHONHOME", "SYSTEMROOT")
"""Environment variables that an interpreter may need to start; none has a secret."""
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38


def bare_environment() -> dict[str, str]:
    """The environment of such a process: no token or key is in it."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")}


def isolated_command(module: str) -> list[str]:
    """The command that runs ``main`` of a module, imported from where this process imports, in the same order, and from
    no current folder, which may be anybody's."""
    paths, package = [path for path in sys.path if path], Path(vicc_ray.__file__).parents[1]
    if package.resolve() not in [Path(path).resolve() for path in paths]:
        paths.insert(0, str(package))
    code = f"import sys; sys.path[:] = {paths!a}; from {module} import main; main()"
    return [sys.executable, "-I", "-B", "-c", code]


def drop_privileges() -> None:
    """To be called once all is imported, and has been used: no larger memory, no further processes, no files, no dumps,
    no new rights, and no system calls that decoding does not need."""
    limits = {"AS": MEMORY, "CORE": 0, "FSIZE": 0, "NOFILE": FILES, "NPROC": 0}
    for name, most in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (value, value))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # to write is an error then, not the end
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    restrict_system_calls()
