"""Clip store -> features of whole videos by several networks, on Ray Data; each network is loaded once a process.

N videos, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import ray
import ray.data
import torch
from rich.progress import Progress
from torch import Tensor

from vicc_ray.config import Config, Stream
from vicc_ray.evaluation.embedding import embed_videos
from vicc_ray.models.encoder import Encoder, build_encoder
from vicc_ray.video.store import ClipStore, Entry

VIDEOS_A_TASK = 8


@dataclass(frozen=True)
class Network:
    """Which weights to embed with, and which stream they take."""

    stream: Stream
    weights: dict[str, Tensor]


class Embedder:
    """A Ray Data actor that holds the networks. ``held``: references to networks, store, entries and config."""

    def __init__(self, held: Mapping[str, ray.ObjectRef], config: dict[str, Any], use_gpu: bool) -> None:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        self.config = Config.model_validate(config)
        self.device = torch.device("cuda" if use_gpu else "cpu")
        self.store, self.entries = ray.get(held["videos"])
        self.encoders = {
            name: (network.stream, self._load(network)) for name, network in ray.get(held["networks"]).items()
        }

    def _load(self, network: Network) -> Encoder:
        encoder = build_encoder(self.config.model)
        encoder.load_state_dict(network.weights)
        return encoder.to(self.device).to(memory_format=torch.channels_last_3d).eval()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """``item`` int [n] -> the same and features float32 [n, F] of every network."""
        entries = [self.entries[i] for i in batch["item"]]
        found = embed_videos(self.encoders, self.store, entries, self.config.clip, self.config.evaluate, self.device)
        return {"item": batch["item"], **found}


def embed(
    networks: Mapping[str, Network], store: ClipStore, entries: Sequence[Entry], config: Config, progress: bool = True
) -> dict[str, np.ndarray]:
    """Features float32 [N, F] of every network, in the order of ``entries``."""
    total = ray.cluster_resources()
    gpus = int(total.get("GPU", 0)) if config.train.use_gpu != "no" else 0
    actors = gpus or max(1, int(total.get("CPU", 1)))
    actors = min(actors, -(-len(entries) // VIDEOS_A_TASK))
    held = {"networks": ray.put(dict(networks)), "videos": ray.put((store, list(entries)))}
    made = ray.data.from_items([{"item": k} for k in range(len(entries))]).map_batches(
        Embedder,
        fn_constructor_args=(held, config.model_dump(mode="json"), bool(gpus)),
        batch_size=VIDEOS_A_TASK,
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=None if gpus else 1,
        num_gpus=1 if gpus else None,
    )
    parts: list[dict[str, np.ndarray]] = []
    with Progress(disable=not progress) as bar:
        task = bar.add_task(f"embedding with {len(networks)} networks", total=len(entries))
        for batch in made.iter_batches(batch_size=None, batch_format="numpy"):
            parts.append(batch)
            bar.advance(task, len(batch["item"]))
    order = np.argsort(np.concatenate([part["item"] for part in parts]))
    return {name: np.concatenate([part[name] for part in parts])[order] for name in networks}
