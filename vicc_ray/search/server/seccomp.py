"""System call filter (seccomp) for processes that decode untrusted files: they can compute and reply.

Only on Linux on x86-64; elsewhere, or if the kernel refuses the filter, nothing is restricted.
"""

from __future__ import annotations

import ctypes
import platform
import sys

_ALLOWED = {
    **{"read": 0, "write": 1, "close": 3, "fstat": 5, "poll": 7, "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11},
    **{"brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "pread64": 17, "readv": 19},
    **{"writev": 20, "sched_yield": 24, "mremap": 25, "nanosleep": 35, "setitimer": 38},
    **{"getpid": 39, "sendto": 44, "recvfrom": 45, "sendmsg": 46, "recvmsg": 47, "exit": 60},
    **{"gettimeofday": 96, "getrusage": 98, "sigaltstack": 131, "gettid": 186, "futex": 202, "sched_getaffinity": 204},
    **{"restart_syscall": 219, "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231},
    **{"newfstatat": 262, "getrandom": 318, "membarrier": 324, "rseq": 334},
}
"""Allowed system calls. Excluded are opening, connecting, starting, signaling and tracing; also fcntl and ioctl, which
can make the kernel signal any process on socket input, and madvise, with which root can poison memory pages."""
_X86_64 = 0xC000003E
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER, _ARCHITECTURE = 0, 4
"""Offsets in ``struct seccomp_data``."""
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050001, 0x80000000
"""Filter results: allow, fail with EPERM, kill the process."""
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("then", ctypes.c_uint8), ("other", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def restrict_system_calls() -> bool:
    """Restrict this process to :data:`_ALLOWED`; returns whether the filter is active. Requires no_new_privs."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    steps = _steps(list(_ALLOWED.values()))
    program = _Program(len(steps), (_Instruction * len(steps))(*steps))
    return bool(ctypes.CDLL(None).prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _steps(allowed: list[int]) -> list[_Instruction]:
    """BPF program with one comparison per system call, which jumps to the allowing return at the end."""
    comparisons = [_Instruction(_IF_EQUAL, len(allowed) - place, 0, number) for place, number in enumerate(allowed)]
    return [
        _Instruction(_LOAD, 0, 0, _ARCHITECTURE),
        _Instruction(_IF_EQUAL, 1, 0, _X86_64),
        _Instruction(_RETURN, 0, 0, _KILL),
        _Instruction(_LOAD, 0, 0, _NUMBER),
        *comparisons,
        _Instruction(_RETURN, 0, 0, _REFUSE),
        _Instruction(_RETURN, 0, 0, _ALLOW),
    ]
