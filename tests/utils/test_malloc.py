"""Freed memory is kept for the next tensor, from the call on."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from vicc_ray.utils.malloc import keep_freed_memory
if {keep}:
    keep_freed_memory()
for _ in range(30):
    torch.zeros(12_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.zeros(12_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
@pytest.mark.parametrize("keep", [False, True])
def test_memory_pages_of_a_tensor_are_reused(keep: bool) -> None:
    """48 MB are 22 pages of 2 MiB at least, most often 11,718 of 4 KiB: all of them new by default, none if kept."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(keep=keep)], capture_output=True, text=True, check=True, timeout=120
    )
    faults = int(done.stdout)
    assert faults < 5 if keep else faults >= 22
