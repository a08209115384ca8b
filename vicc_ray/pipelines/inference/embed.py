"""Clip store -> features of whole videos by several networks; each network is loaded once a process.

N videos, F features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from vicc_ray.clip_store.catalog import VideoRecord
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config, Stream
from vicc_ray.evaluation.video_features import embed_videos
from vicc_ray.models.encoder import Encoder, build_encoder
from vicc_ray.models.inference import optimize_for_inference
from vicc_ray.models.weights_io import tensors_digest
from vicc_ray.pipelines.cluster.wait_for_nodes import Reporter
from vicc_ray.pipelines.inference.map_videos import collect_in_order, map_videos, task_resources, usable_gpus


@dataclass(frozen=True)
class StreamWeights:
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

    networks: dict[str, StreamWeights]
    store: ClipStore
    entries: Sequence[VideoRecord]
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

    def _load(self, network: StreamWeights) -> Encoder:
        encoder = build_encoder(self.work.config.model)
        encoder.load_state_dict(network.weights)
        return optimize_for_inference(encoder.eval(), self.device)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """``item`` int [n] -> the same and features float32 [n, F] of every network."""
        work = self.work
        entries = [work.entries[i] for i in batch["item"]]
        found = embed_videos(self.encoders, work.store, entries, work.config.clip, work.config.evaluate, self.device)
        return {"item": batch["item"], **found}


def iter_features(
    networks: Mapping[str, StreamWeights],
    store: ClipStore,
    entries: Sequence[VideoRecord],
    config: Config,
    items: Sequence[int] | None = None,
    progress: bool = True,
    only_free: bool = False,
    cpus: float = 1.0,
    tell: Reporter | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Features of some videos at a time, in any order: ``item`` int [n] (place in ``entries``), float32 [n, F] by name.

    Args:
        items: which of ``entries``; all by default.
        only_free: use CPUs where no GPU is free, instead of waiting for one: a training run may hold them all.
        cpus: of a task.
        tell: gets a line about what is waited for; by default the progress display, or stderr.

    Raises:
        UserError: the store is damaged.
    """
    items = range(len(entries)) if items is None else items
    gpus = usable_gpus(config.train.use_gpu, only_free)
    work = Work(dict(networks), store, entries, config, bool(gpus))
    title = f"embedding with {len(networks)} networks"
    room = task_resources(gpus, config.ray.node_wait_timeout_s, cpus, tell)
    return map_videos(Embedder, work, items, gpus, title, room, progress, done=len(entries) - len(items))


def embed(
    networks: Mapping[str, StreamWeights],
    store: ClipStore,
    entries: Sequence[VideoRecord],
    config: Config,
    progress: bool = True,
    only_free: bool = False,
    cpus: float = 1.0,
    tell: Reporter | None = None,
) -> dict[str, np.ndarray]:
    """Features float32 [N, F] of every network, in the order of ``entries``; see :func:`iter_features`."""
    return collect_in_order(iter_features(networks, store, entries, config, None, progress, only_free, cpus, tell))
