"""Short real runs of the tiny network, watched by their epochs' figures."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor, nn

from tests.training.fixtures import small_config
from vicc_ray.config import Config
from vicc_ray.runs.schedule import build_phases
from vicc_ray.training.monitoring.epoch_stats import EpochStats
from vicc_ray.training.tasks.pretrainer import Pretrainer
from vicc_ray.video.appearance import APPEARANCE

BATCH, FRAMES, SIZE, STEPS = 16, 4, 16, 25
KINDS = 6
ConfigSection = dict[str, Any]


def watched_config(**changes: ConfigSection) -> Config:
    """AdamW, 16 samples a step, as many prototypes as there are kinds of videos; ``changes`` update sections."""
    sections: dict[str, ConfigSection] = {
        "clip": {"frames": FRAMES, "size": SIZE},
        "method": {"num_prototypes": KINDS, "queue_size": 0},
        "optimizer": {"name": "adamw", "learning_rate": 2e-3, "min_lr": 1e-4},
        "schedule": {"rgb_epochs": 8, "flow_epochs": 8, "stage1_cosine_epochs": 8},
        "train": {"global_batch_size": BATCH},
    }
    for name, change in changes.items():
        sections[name] = {**sections.get(name, {}), **change}
    return small_config(**sections)


def video_batch(draw: torch.Generator, alike: bool = False) -> dict[str, Tensor]:
    """Two noisy clips of each of some videos of ``KINDS`` coarse coloured patterns; ``alike``: all clips are grey."""
    kinds = torch.randint(0, KINDS, (BATCH,), generator=draw)
    patterns = torch.randint(0, 256, (KINDS, 3, 4, 4), generator=torch.Generator().manual_seed(7)).float()
    images = nn.functional.interpolate(patterns[kinds], size=SIZE, mode="bilinear").permute(0, 2, 3, 1)
    shape = (BATCH, 2, FRAMES, SIZE, SIZE, 3)
    clips = images[:, None, None] + 60 * torch.randn(shape, generator=draw)
    clips = torch.full(shape, 128.0) if alike else clips
    plain = torch.zeros(BATCH, 2, len(APPEARANCE))
    for name in ("brightness", "contrast", "saturation"):
        plain[..., APPEARANCE.index(name)] = 1.0
    return {"rgb": clips.clamp(0, 255).to(torch.uint8), "appearance": plain}


def run_epochs(config: Config, epochs: int, alike: bool = False) -> list[dict[str, Any]]:
    """The lines of epochs.jsonl of the first epochs of RGB stage 1."""
    pretrainer = Pretrainer(config, torch.device("cpu"))
    phase = build_phases(config.schedule)[0]
    pretrainer.start_phase(phase)
    health = EpochStats(config.method.num_prototypes, config.model.embed_dim, BATCH, torch.device("cpu"))
    draw, lines = torch.Generator().manual_seed(0), []
    for epoch in range(epochs):
        for step in range(STEPS):
            begun = time.perf_counter()
            metrics = pretrainer.step(video_batch(draw, alike), epoch + step / STEPS)
            health.add(metrics, pretrainer.last_embeddings, data_s=0.0, step_s=time.perf_counter() - begun)
        figures = health.summary()
        lines.append({"phase": phase.name, "stream": "rgb", **figures, "ln_k": math.log(config.method.num_prototypes)})
    return lines
