"""Class probabilities of whole videos: clip store -> softmax scores of a classifier, averaged over windows.

N videos, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from vicc_ray.clip_store.catalog import VideoRecord
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config
from vicc_ray.evaluation.clip_inference import build_classifier, predict_videos
from vicc_ray.models.classifier import Classifier
from vicc_ray.models.inference import optimize_for_inference
from vicc_ray.pipelines.inference.map_videos import Columns, collect_in_order, map_videos, task_resources, usable_gpus
from vicc_ray.pipelines.inference.model_actor import InferenceSpec


def predict(
    tensors: dict[str, Tensor], store: ClipStore, entries: Sequence[VideoRecord], config: Config, progress: bool = True
) -> np.ndarray:
    """Probabilities float32 [N, K], in the order of ``entries``.

    Args:
        tensors: the model of a classification checkpoint.

    Raises:
        UserError: the store is damaged.
    """
    gpus = usable_gpus(config.train.use_gpu)
    spec = InferenceSpec(
        partial(_load_classifier, tensors, config), partial(_predict_batch, store, entries, config), bool(gpus)
    )
    resources, title = task_resources(gpus, config.ray.node_wait_timeout_s), "recognizing test videos"
    return collect_in_order(map_videos(spec, range(len(entries)), gpus, title, resources, progress))["probabilities"]


def _load_classifier(tensors: Mapping[str, Tensor], config: Config, device: torch.device) -> Classifier:
    return optimize_for_inference(build_classifier(tensors, config), device)


def _predict_batch(
    store: ClipStore,
    entries: Sequence[VideoRecord],
    config: Config,
    classifier: Classifier,
    device: torch.device,
    batch: Columns,
) -> Columns:
    videos = [entries[item] for item in batch["item"]]
    return {"item": batch["item"], "probabilities": predict_videos(classifier, store, videos, config, device)}
