"""Clip store -> features of whole videos by several networks, on Ray Data; each network is loaded once a process.

N videos, F features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import ray
import ray.data
import torch
from ray.exceptions import RayTaskError
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from vicc_ray.config import Config, Stream
from vicc_ray.evaluation.embedding import embed_videos
from vicc_ray.models.encoder import Encoder, build_encoder
from vicc_ray.models.weights_file import tensors_digest
from vicc_ray.pipelines.held import unpacked
from vicc_ray.pipelines.ray_errors import user_error_in
from vicc_ray.video.entries import Entry
from vicc_ray.video.store import ClipStore

VIDEOS_A_TASK = 8


@dataclass(frozen=True)
class Network:
    """Which weights to embed with, and which stream they take."""

    stream: Stream
    weights: dict[str, Tensor]

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the weights."""
        return tensors_digest(self.weights)


@dataclass(frozen=True)
class Work:
    """What every embedding process needs."""

    networks: dict[str, Network]
    store: ClipStore
    entries: Sequence[Entry]
    config: Config
    use_gpu: bool


class Embedder:
    """Holds the networks of a :class:`Work`, ready on their device."""

    def __init__(self, work: Work) -> None:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        self.work = work
        self.device = torch.device("cuda" if work.use_gpu else "cpu")
        self.encoders = {name: (network.stream, self._load(network)) for name, network in work.networks.items()}

    def _load(self, network: Network) -> Encoder:
        encoder = build_encoder(self.work.config.model)
        encoder.load_state_dict(network.weights)
        return encoder.to(self.device).to(memory_format=torch.channels_last_3d).eval()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """``item`` int [n] -> the same and features float32 [n, F] of every network."""
        work = self.work
        entries = [work.entries[i] for i in batch["item"]]
        found = embed_videos(self.encoders, work.store, entries, work.config.clip, work.config.evaluate, self.device)
        return {"item": batch["item"], **found}


class EmbedTask:
    """The :class:`Embedder` of its process: for CPUs, where a task that is lost is simply given to another process."""

    def __init__(self, held: ray.ObjectRef) -> None:
        self._held = held

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = unpacked(self._held, Embedder)(batch)
        return found


class EmbedActor(EmbedTask):
    """The same as a Ray Data actor: a process keeps the GPU that it was given first."""


def embedded(
    networks: Mapping[str, Network],
    store: ClipStore,
    entries: Sequence[Entry],
    config: Config,
    items: Sequence[int] | None = None,
    progress: bool = True,
    only_free: bool = False,
) -> Iterator[dict[str, np.ndarray]]:
    """Features of some videos at a time, in any order: ``item`` int [n] (place in ``entries``), float32 [n, F] by name.

    Args:
        items: which of ``entries``; all by default.
        only_free: use CPUs where no GPU is free, instead of waiting for one: a training run may hold them all.

    Raises:
        UserError: the store is damaged.
    """
    items = range(len(entries)) if items is None else items
    if not len(items):
        return
    there = ray.available_resources() if only_free else ray.cluster_resources()
    gpus = int(there.get("GPU", 0)) if config.train.use_gpu != "no" else 0
    held = ray.put(Work(dict(networks), store, entries, config, bool(gpus)))
    blocks = -(-len(items) // VIDEOS_A_TASK)
    rows = ray.data.from_items([{"item": int(k)} for k in items], override_num_blocks=blocks)
    if gpus:
        pool = ray.data.ActorPoolStrategy(size=min(gpus, blocks))
        made = rows.map_batches(EmbedActor, fn_constructor_args=(held,), compute=pool, num_gpus=1)
    else:
        made = rows.map_batches(EmbedTask(held), num_cpus=1)
    with Progress(console=Console(stderr=True), disable=not progress) as bar:
        task = bar.add_task(f"embedding with {len(networks)} networks", total=len(entries))
        bar.advance(task, len(entries) - len(items))
        try:
            for batch in made.iter_batches(batch_size=None, batch_format="numpy"):
                yield batch
                bar.advance(task, len(batch["item"]))
        except RayTaskError as error:
            raise user_error_in(error) or error from None


def embed(
    networks: Mapping[str, Network],
    store: ClipStore,
    entries: Sequence[Entry],
    config: Config,
    progress: bool = True,
    only_free: bool = False,
) -> dict[str, np.ndarray]:
    """Features float32 [N, F] of every network, in the order of ``entries``; see :func:`embedded`."""
    parts = list(embedded(networks, store, entries, config, progress=progress, only_free=only_free))
    order = np.argsort(np.concatenate([part["item"] for part in parts]))
    return {name: np.concatenate([part[name] for part in parts])[order] for name in networks}
