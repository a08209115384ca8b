"""Runs small enough to train within seconds, and what they leave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.pipelines.prepared import RAY
from vicc_ray.config import Config
from vicc_ray.training.batch_maker import BatchMaker
from vicc_ray.training.json_lines import read_lines
from vicc_ray.training.plan import Plan
from vicc_ray.training.pretrainer import Pretrainer
from vicc_ray.training.schedule import turns
from vicc_ray.training.validation_split import training_videos
from vicc_ray.video.store import ClipStore


def settings(**changes: dict[str, Any]) -> Config:
    sections: dict[str, dict[str, Any]] = {
        "prepare": {"short_side": 32, "videos_per_shard": 4},
        "clip": {"frames": 8, "size": 32},
        "model": {"backbone": "tiny", "embedding": 16},
        "method": {"prototypes": 4, "queue": 8, "queue_start": 0, "freeze_prototypes": 0},
        "schedule": {
            **{"rgb_epochs": 1, "flow_epochs": 1, "stage1_cosine_epochs": 1, "cycles": 1},
            **{"alternation_period": 1, "stage2_cosine_epochs": 1, "last_flow_turn": False},
        },
        # Not adamw: it divides by gradients near zero, and rounding that differs with the workers grows to per cents.
        "optimiser": {"name": "lars", "learning_rate": 0.05, "final_learning_rate": 0.01},
        "train": {"batch": 4, "checkpoint_steps": 3, "evaluate_epochs": 1},
        "evaluate": {"max_windows": 2},
        "ray": RAY.model_dump(),
    }
    for name, change in changes.items():
        sections[name] = {**sections.get(name, {}), **change}
    return Config.model_validate(sections)


def losses(run: Path) -> list[float]:
    lines = read_lines(run / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return [line["loss"] for line in lines]


def computed_here(config: Config, store: Path) -> Iterator[float]:
    """The losses of a run of RGB stage 1 as one process computes them, without Ray and without an end.

    With one thread, as the workers of these runs: sums of other numbers of parts are rounded otherwise.
    """
    torch.set_num_threads(1)
    opened = ClipStore(store)
    videos = training_videos(opened.entries, config.train.validation_share)
    plan = Plan(len(videos), config.train.batch, config.seed)
    maker = BatchMaker(opened, videos, plan, config.clip, ("rgb",), 0, 1)
    pretrainer = Pretrainer(config, torch.device("cpu"))
    pretrainer.start_turn(turns(config.schedule)[0])
    step = 0
    while True:
        parts = [maker({"step": step, "part": part}) for part in range(maker.parts)]
        batch = {name: torch.from_numpy(np.concatenate([part[name] for part in parts])) for name in parts[0]}
        yield float(pretrainer.step(batch, plan.epoch_at(step))["loss"])
        step += 1
