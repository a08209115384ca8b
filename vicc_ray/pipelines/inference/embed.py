"""Features of whole videos: clip store -> features by several networks, a video decoded once for all of them.

N videos, F features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from vicc_ray.clip_store.catalog import VideoRecord
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config, Stream
from vicc_ray.evaluation.video_features import embed_videos
from vicc_ray.models.encoder import Encoder, build_encoder
from vicc_ray.models.inference import optimize_for_inference
from vicc_ray.models.input_convention import InputConvention
from vicc_ray.models.weights_io import tensors_digest
from vicc_ray.pipelines.cluster.wait_for_nodes import Reporter
from vicc_ray.pipelines.inference.map_videos import Columns, collect_in_order, map_videos, task_resources, usable_gpus
from vicc_ray.pipelines.inference.model_actor import InferenceSpec


@dataclass(frozen=True)
class StreamWeights:
    """Weights of an encoder, and the stream that it takes."""

    stream: Stream
    weights: dict[str, Tensor]

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the weights."""
        return tensors_digest(self.weights)


Encoders = dict[str, tuple[InputConvention, Encoder]]


def embedding_spec(
    networks: Mapping[str, StreamWeights],
    store: ClipStore,
    entries: Sequence[VideoRecord],
    config: Config,
    use_gpu: bool,
) -> InferenceSpec:
    """Spec of the features of ``entries`` by every network: ``item`` -> float32 [n, F] by name."""
    return InferenceSpec(
        partial(_load_encoders, dict(networks), config), partial(_embed_batch, store, entries, config), use_gpu
    )


def _load_encoders(networks: Mapping[str, StreamWeights], config: Config, device: torch.device) -> Encoders:
    encoders: Encoders = {}
    for name, network in networks.items():
        encoder = build_encoder(config.model)
        encoder.load_state_dict(network.weights)
        convention = InputConvention.of(network.stream, config.model)
        encoders[name] = convention, optimize_for_inference(encoder.eval(), device)
    return encoders


def _embed_batch(
    store: ClipStore,
    entries: Sequence[VideoRecord],
    config: Config,
    encoders: Encoders,
    device: torch.device,
    batch: Columns,
) -> Columns:
    videos = [entries[item] for item in batch["item"]]
    features = embed_videos(encoders, store, videos, config.clip, config.evaluate, device)
    return {"item": batch["item"], **features}


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
) -> Iterator[Columns]:
    """Features of some videos at a time, in any order: ``item`` and float32 [n, F] by name.

    Args:
        items: positions in ``entries``; all by default.
        only_free: use CPUs where no GPU is free, instead of waiting for one: a training run may hold them all.
        cpus: of a task.
        tell: gets a line about what is waited for; by default the progress display, or stderr.

    Raises:
        UserError: the store is damaged.
    """
    items = range(len(entries)) if items is None else items
    gpus = usable_gpus(config.train.use_gpu, only_free)
    spec = embedding_spec(networks, store, entries, config, bool(gpus))
    title = f"embedding with {len(networks)} networks"
    resources = task_resources(gpus, config.ray.node_wait_timeout_s, cpus, tell)
    return map_videos(spec, items, gpus, title, resources, progress, done=len(entries) - len(items))


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
