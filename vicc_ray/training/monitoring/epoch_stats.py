"""Epoch statistics: means of step metrics, collapse measures of embeddings and prototypes, throughput and memory.

B samples of a step on all workers, D embedding, K prototypes, W workers.
"""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Mapping

import torch
from torch import Tensor

from vicc_ray.training.distributed.collectives import all_gather_uneven

CHOICES = "first_choices"
"""Name of the only metric that is not a scalar: the number of samples that prefer each prototype, [K]."""
GRADIENT = "gradient_norm"
"""Name of the metric whose maximum over the epoch is kept besides the mean."""
MIB = 2**20


def effective_rank(embeddings: Tensor) -> float:
    """Effective rank of embeddings [B, D]: 1 (all equal) to min(B, D).

    The exponential of the entropy of the singular values, scaled to sum 1 (Roy and Vetterli, The effective rank, 2007).
    As in RankMe (Garrido et al., 2023), embeddings are not centered: collapsed unit vectors differ by rounding noise in
    every direction, which has full rank once the mean is subtracted.
    """
    values = embeddings.double()
    return _rank_of_gram(values.T @ values)


class EpochStats:
    """Accumulator of an epoch's statistics on the device; the host waits only in :meth:`summary`.

    Args:
        prototypes: K; 0 without prototypes.
        embedding: D; 0 without embeddings.
        batch: B.
        device: device of metrics and embeddings.
    """

    def __init__(self, prototypes: int, embedding: int, batch: int, device: torch.device) -> None:
        self.prototypes, self.embedding, self.batch, self.device = prototypes, embedding, batch, device
        self._reset()

    def _reset(self) -> None:
        self._steps = 0
        self._data_s = self._step_s = 0.0
        self._constants: dict[str, float] = {}
        self._names: list[str] = []
        self._sums = self._zeros(0)
        self._largest_gradient = self._zeros(1)
        self._choices = self._zeros(self.prototypes)
        self._gram = self._zeros(self.embedding, self.embedding)

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.float64, device=self.device)

    @torch.no_grad()
    def add(
        self, metrics: Mapping[str, Tensor | float], embeddings: Tensor | None, data_s: float, step_s: float
    ) -> None:
        """Add one step.

        Args:
            metrics: metrics of the step, equal on all workers: scalars, with the same names each step, and optionally
                ``first_choices`` [K].
            embeddings: [B, D], unit norm, of one view by the optimized encoder; None where D is 0.
            data_s: seconds that this worker waited for the batch.
            step_s: seconds of the rest of the step.
        """
        scalars = {name: v for name, v in metrics.items() if isinstance(v, Tensor) and name != CHOICES}
        if not self._steps:
            self._names, self._sums = list(scalars), self._zeros(len(scalars))
        self._steps += 1
        self._data_s += data_s
        self._step_s += step_s
        self._constants = {name: v for name, v in metrics.items() if not isinstance(v, Tensor)}
        self._sums += torch.stack([scalars[name].detach().double().reshape(()) for name in self._names])
        if GRADIENT in scalars:
            self._largest_gradient = torch.maximum(self._largest_gradient, scalars[GRADIENT].detach().double())
        if isinstance(choices := metrics.get(CHOICES), Tensor):
            self._choices += choices
        if embeddings is not None:
            values = embeddings.detach().double()
            self._gram.addmm_(values.T, values)

    def summary(self) -> dict[str, float]:
        """Statistics of the steps since the last call, and a reset; a collective call of all workers.

        Returns:
            mean of every scalar metric under its own name, and ``steps``. Where steps have them:
            ``gradient_norm_max``; ``prototypes_in_use``, the fraction of K that any sample preferred;
            ``prototypes_effective``, the exponential of the entropy of first choices as a fraction of K;
            ``effective_rank``, 1 to D, of all embeddings of the epoch. As means over workers: ``data_wait_share``, 0 to
            1, and ``samples_per_s``. As the maximum over workers: ``memory_peak_mib``, since the last call on a GPU,
            since the start of the process on a CPU. Empty if there was no step.
        """
        if not self._steps:
            return {}
        means, largest, choices, gram, (data_s, step_s, memory) = self._fetch()
        seconds = data_s + step_s
        statistics = {
            **{"steps": float(self._steps)},
            **self._constants,
            **dict(zip(self._names, means.tolist(), strict=True)),
            **({"gradient_norm_max": float(largest)} if GRADIENT in self._names else {}),
            **(_prototype_use(choices) if choices.any() else {}),
            **({"effective_rank": _rank_of_gram(gram)} if self.embedding else {}),
            "data_wait_share": data_s / seconds if seconds else 0.0,
            "samples_per_s": self.batch * self._steps / seconds if seconds else math.nan,
            "memory_peak_mib": memory,
        }
        self._reset()
        return statistics

    def _fetch(self) -> tuple[Tensor, Tensor, Tensor, Tensor, tuple[float, float, float]]:
        """All sums in one transfer from the device; times as means over workers, memory as their maximum."""
        local = torch.tensor(
            [[self._data_s, self._step_s, self._memory_mib()]], dtype=torch.float64, device=self.device
        )
        workers = all_gather_uneven(local)
        parts = [self._sums / self._steps, self._largest_gradient, self._choices, self._gram.flatten()]
        times = torch.cat([workers[:, :2].mean(dim=0), workers[:, 2].amax(dim=0, keepdim=True)])
        sizes = [part.numel() for part in (*parts, times)]
        means, largest, choices, gram, totals = torch.cat([*parts, times]).cpu().split(sizes)
        data_s, step_s, memory = totals.tolist()
        return means, largest, choices, gram.view_as(self._gram), (data_s, step_s, memory)

    def _memory_mib(self) -> float:
        """Peak memory of this worker, in MiB."""
        if self.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            return peak / MIB
        unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def _rank_of_gram(gram: Tensor) -> float:
    """Effective rank of a matrix Z from Z^T Z, whose eigenvalues are the squared singular values."""
    if not bool(torch.isfinite(gram).all()):
        return math.nan
    return _perplexity(torch.linalg.eigvalsh(gram.cpu()).clamp(min=0).sqrt())


def _prototype_use(choices: Tensor) -> dict[str, float]:
    """Fractions of K in use, from the number of samples [K] that prefer each prototype."""
    return {
        "prototypes_in_use": float((choices > 0).double().mean()),
        "prototypes_effective": _perplexity(choices) / len(choices),
    }


def _perplexity(weights: Tensor) -> float:
    """Perplexity of non-negative weights, scaled to sum 1: their effective number."""
    return math.exp(float(torch.special.entr(weights / weights.sum()).sum()))
