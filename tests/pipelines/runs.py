"""Settings of runs that train within seconds, and readers of their results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.pipelines.prepared import RAY
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config
from vicc_ray.training.tasks.pretraining import Pretraining
from vicc_ray.utils.jsonl import read_lines


def settings(**changes: dict[str, Any]) -> Config:
    sections: dict[str, dict[str, Any]] = {
        "prepare": {"short_side": 32, "videos_per_shard": 4},
        "clip": {"frames": 8, "size": 32},
        "model": {"backbone": "tiny", "embed_dim": 16},
        "method": {"num_prototypes": 4, "queue_size": 8, "queue_start_epoch": 0, "freeze_prototypes_epochs": 0},
        "schedule": {
            **{"rgb_epochs": 1, "flow_epochs": 1, "stage1_cosine_epochs": 1, "cycles": 1},
            **{"epochs_per_phase": 1, "stage2_cosine_epochs": 1, "final_flow_phase": False},
        },
        # Not AdamW: it divides by gradients near zero, which amplifies rounding differences between worker counts.
        "optimizer": {"name": "lars", "learning_rate": 0.05, "min_lr": 0.01},
        "train": {"global_batch_size": 4, "checkpoint_every_steps": 3, "validate_every_epochs": 1},
        "evaluate": {"max_windows_per_video": 2},
        "ray": RAY.model_dump(),
    }
    for name, change in changes.items():
        sections[name] = {**sections.get(name, {}), **change}
    return Config.model_validate(sections)


def rgb_only(epochs: int, **train: Any) -> Config:
    """Settings of RGB stage 1 alone; a low learning rate keeps rounding differences between worker counts small."""
    return settings(
        schedule={"rgb_epochs": epochs, "stage1_cosine_epochs": epochs, "flow_epochs": 0, "cycles": 0},
        optimizer={"name": "lars", "learning_rate": 0.005, "min_lr": 0.001},
        train={"global_batch_size": 4, "validate_every_epochs": 0, **train},
    )


def losses(run: Path) -> list[float]:
    lines = read_lines(run / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return [line["loss"] for line in lines]


def reference_losses(config: Config, store: Path) -> Iterator[float]:
    """Losses of a run, computed by one process without Ray.

    One thread, as in the workers of these runs: the number of threads changes the rounding of sums.
    """
    torch.set_num_threads(1)
    task = Pretraining(config, ClipStore(store))
    pretrainer, step = task.trainer(torch.device("cpu")), 0
    for phase in task.phases:
        pretrainer.start_phase(phase)
        builder = task.builder(phase, 0, 1)
        while step < task.sampler.first_step(phase.last_epoch):
            parts = [builder({"step": step, "microbatch": microbatch}) for microbatch in range(builder.microbatches)]
            batch = {name: torch.from_numpy(np.concatenate([part[name] for part in parts])) for name in parts[0]}
            yield float(pretrainer.step(batch, task.sampler.epoch_at(step))["loss"])
            step += 1
