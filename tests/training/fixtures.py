"""A configuration, a batch and trained states small enough to compute in a moment."""

from __future__ import annotations

from typing import Any

import torch

from vicc_ray.config import Config
from vicc_ray.runs.schedule import build_phases
from vicc_ray.training.tasks.pretrainer import Pretrainer
from vicc_ray.video.appearance import APPEARANCE

BATCH, FRAMES, SIZE = 8, 8, 32


def small_config(**changes: dict[str, Any]) -> Config:
    """The tiny network, 8 samples a step, a queue of two steps; ``changes`` update sections."""
    sections: dict[str, dict[str, Any]] = {
        "clip": {"frames": FRAMES, "size": SIZE},
        "model": {"backbone": "tiny", "embed_dim": 16},
        "method": {"num_prototypes": 6, "queue_size": 2 * BATCH, "queue_start_epoch": 0, "freeze_prototypes_epochs": 0},
        "schedule": {
            **{"rgb_epochs": 1, "flow_epochs": 1, "stage1_cosine_epochs": 1},
            **{"cycles": 1, "epochs_per_phase": 1, "stage2_cosine_epochs": 1},
        },
        "optimizer": {"learning_rate": 0.05, "min_lr": 0.001},
        "train": {"global_batch_size": BATCH},
    }
    for name, change in changes.items():
        sections[name] = {**sections.get(name, {}), **change}
    return Config.model_validate(sections)


def make_batch(seed: int) -> dict[str, torch.Tensor]:
    """A global batch of noise clips with drawn appearance."""
    draw = torch.Generator().manual_seed(seed)
    shape = (BATCH, 2, FRAMES, SIZE, SIZE)
    appearance = torch.zeros(BATCH, 2, len(APPEARANCE))
    colors = APPEARANCE.index("sigma") + 1
    appearance[..., :colors] = torch.rand(BATCH, 2, colors, generator=draw)
    appearance[..., APPEARANCE.index("channel")] = torch.randint(0, 3, (BATCH, 2), generator=draw).float()
    return {
        "rgb": torch.randint(0, 256, (*shape, 3), generator=draw, dtype=torch.uint8),
        "flow": torch.randint(0, 256, (*shape, 2), generator=draw, dtype=torch.uint8),
        "appearance": appearance,
    }


def started(config: Config, phase_name: str) -> Pretrainer:
    """A pretrainer at the start of a phase."""
    pretrainer = Pretrainer(config, torch.device("cpu"))
    pretrainer.start_phase(next(phase for phase in build_phases(config.schedule) if phase.name == phase_name))
    return pretrainer


def steps(pretrainer: Pretrainer, count: int, first_seed: int = 0) -> list[float]:
    """Losses of ``count`` steps on batches seeded from ``first_seed`` on."""
    epoch = pretrainer.phase.first_epoch
    return [float(pretrainer.step(make_batch(first_seed + k), epoch + k / 10)["loss"]) for k in range(count)]
