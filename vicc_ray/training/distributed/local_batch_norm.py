"""Batch norm of each worker by itself (``train.batch_norm: local``): what the workers must still agree on."""

from __future__ import annotations

from torch import nn

from vicc_ray.config import TrainConfig
from vicc_ray.training.distributed.collectives import all_reduce_mean_, world_size


def average_running_statistics(network: nn.Module) -> None:
    """Replace the running statistics of batch norms in training mode by their mean over workers, in one message.

    Checkpoints, evaluation and the frozen network need one set of statistics, equal on all workers.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm3d) and m.training]
    statistics = [value for norm in norms for value in (norm.running_mean, norm.running_var) if value is not None]
    if statistics and world_size() > 1:
        all_reduce_mean_(statistics)


def local_batch_norm_note(train: TrainConfig) -> str:
    """Caveat about the number of workers, for console and report; "" if the loss does not depend on it."""
    if train.batch_norm != "local":
        return ""
    return (
        f"train.batch_norm is local: each worker normalizes by its own samples, so the loss depends on the number of "
        f"workers (train.num_workers: {train.num_workers}), and the run resumes with that number only"
    )
