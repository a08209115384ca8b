"""The group of a training on this machine alone: its workers meet in a file, and talk over the loopback.

By default they meet at a port of the first worker, which listens on all interfaces and asks nobody who he is.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import ray
from ray.train.torch import TorchConfig
from ray.train.torch.config import _set_torch_distributed_env_vars, _setup_torch_process_group, _TorchBackend

LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
"""Variables that say where the workers listen for each other."""


class PrivateGroup(TorchConfig):
    """What Ray Train takes for it."""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        """What begins the group."""
        return _PrivateBackend


class _PrivateBackend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        worker_group.execute(_set_torch_distributed_env_vars)
        meeting = worker_group.execute_single(0, _meeting)
        size = len(worker_group)
        ray.get(
            [
                worker_group.execute_single_async(
                    rank, _begin, backend_config.backend, rank, size, meeting, backend_config.timeout_s
                )
                for rank in range(size)
            ]
        )


def _meeting() -> str:
    """A new file in the folder of this Ray, which goes with it."""
    node: Any = ray._private.worker.global_worker.node
    return (Path(tempfile.mkdtemp(prefix="group-", dir=node.get_session_dir_path())) / "meeting").as_uri()


def _begin(*group: Any) -> None:
    for name in INTERFACES:
        os.environ.setdefault(name, LOOPBACK)
    _setup_torch_process_group(*group)
