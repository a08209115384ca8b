"""Process group of a training on this machine alone: workers meet in a file and talk over the loopback.

By default they meet at a TCP port of the first worker, which listens on all network interfaces and asks for no token.
"""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch.distributed as dist
from ray.train.backend import Backend
from ray.train.torch import TorchConfig

LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
"""Variables that name the network interface on which workers listen for each other."""


class LoopbackTorchConfig(TorchConfig):
    """Torch config of Ray Train for such a group."""

    @property
    def backend_cls(self) -> type[Backend]:
        """Backend that sets up the group."""
        return _LoopbackBackend


class _LoopbackBackend(Backend):
    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        file, size = worker_group.execute_single(0, _new_file), len(worker_group)
        group = (size, file, backend_config.backend, backend_config.timeout_s)
        ray.get([worker_group.execute_single_async(rank, _join, rank, *group) for rank in range(size)])

    def on_shutdown(self, worker_group: Any, backend_config: Any) -> None:
        TorchConfig().backend_cls().on_shutdown(worker_group, backend_config)


def _new_file() -> str:
    """URL of a new file in the folder of this Ray session, which goes with the session."""
    context = ray.get_runtime_context()
    session = Path(context.get_temp_dir()) / context.get_session_name()
    return (Path(tempfile.mkdtemp(prefix="group-", dir=session)) / "meeting").as_uri()


def _join(rank: int, size: int, file: str, backend: str, timeout_s: float) -> None:
    """Enter the group, with the variables that Ray Train and torchrun set."""
    context = ray.train.get_context()
    os.environ["RANK"], os.environ["WORLD_SIZE"] = str(rank), str(size)
    os.environ["LOCAL_RANK"] = str(context.get_local_rank())
    os.environ["LOCAL_WORLD_SIZE"] = str(context.get_local_world_size())
    os.environ["NODE_RANK"] = str(context.get_node_rank())
    for name in INTERFACES:
        os.environ.setdefault(name, LOOPBACK)
    if "nccl" in backend and "TORCH_NCCL_BLOCKING_WAIT" not in os.environ:
        os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1")  # fail where a collective times out
    dist.init_process_group(backend, file, timedelta(seconds=timeout_s), world_size=size, rank=rank)
