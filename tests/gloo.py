"""Real gloo processes for tests of what several workers compute together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.forked import FORKED


def run_workers(work: Callable[..., Any], workers: int, folder: Path, *args: Any) -> list[Any]:
    """Call ``work(*args)`` in ``workers`` processes joined by gloo; what each returned, in the order of ranks.

    ``folder`` holds their meeting point and results, and must be empty.
    """
    folder.mkdir(parents=True)
    mp.start_processes(_worker, (workers, str(folder), work, args), workers, start_method=FORKED.get_start_method())
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(workers)]


def _worker(rank: int, workers: int, folder: str, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=workers)
    try:
        torch.save(work(*args), f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()
