"""Helpers for tests of the decoding processes."""

from __future__ import annotations

from pathlib import Path

from vicc_ray.search.server.decode_pool import DecodePool
from vicc_ray.search.windows import WindowChunk


def read(processes: DecodePool, path: Path) -> list[WindowChunk]:
    with path.open("rb") as file:
        return processes.read(file)


def pid_of(processes: DecodePool) -> int:
    """Process id of the only process, which is idle."""
    process = processes._idle.queue[-1]
    assert process
    return process.pid
