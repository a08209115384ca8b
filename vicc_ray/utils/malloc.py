"""Settings of the C library's memory allocator."""

from __future__ import annotations

import ctypes
import platform

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX, ARENA_MAX = -1, -2, -4, -8
"""Names of glibc's ``mallopt`` (malloc.h)."""
KEPT = {ARENA_MAX: 1, MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 2**26}


def keep_freed_memory() -> None:
    """Have this process keep freed memory for the next tensor; no effect without glibc.

    By default glibc returns the memory of a large tensor to the kernel, which hands it out again page by page. An
    element-wise layer then takes four to eight times as long, a step of S3D 1.3 times (``benchmarks/step.json``).
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for name, value in KEPT.items():
            libc.mallopt(name, value)
