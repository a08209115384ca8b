"""Clip store -> probabilities of classes of whole videos; the classifier is loaded once a process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from vicc_ray.clip_store.catalog import VideoRecord
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config
from vicc_ray.evaluation.clip_inference import build_classifier, predict_videos
from vicc_ray.models.inference import optimize_for_inference
from vicc_ray.pipelines.inference.map_videos import Columns, collect_in_order, map_videos, task_resources, usable_gpus


@dataclass(frozen=True)
class PredictWork:
    """What every process needs; ``tensors``: the model of a checkpoint."""

    tensors: dict[str, Tensor]
    store: ClipStore
    entries: Sequence[VideoRecord]
    config: Config
    use_gpu: bool


class Predictor:
    """Holds the classifier of a :class:`PredictWork`, ready on its device."""

    def __init__(self, work: PredictWork) -> None:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        self.work = work
        self.device = torch.device("cuda" if work.use_gpu else "cpu")
        self.network = optimize_for_inference(build_classifier(work.tensors, work.config), self.device)

    def __call__(self, batch: Columns) -> Columns:
        """``item`` int [n] -> the same and probabilities float32 [n, K]."""
        entries = [self.work.entries[i] for i in batch["item"]]
        found = predict_videos(self.network, self.work.store, entries, self.work.config, self.device)
        return {"item": batch["item"], "probabilities": found}


def predict(
    tensors: dict[str, Tensor], store: ClipStore, entries: Sequence[VideoRecord], config: Config, progress: bool = True
) -> np.ndarray:
    """Probabilities float32 [N, K], in the order of ``entries``.

    Raises:
        UserError: the store is damaged.
    """
    gpus = usable_gpus(config.train.use_gpu)
    work = PredictWork(tensors, store, entries, config, bool(gpus))
    room, title = task_resources(gpus, config.ray.node_wait_timeout_s), "recognising test videos"
    parts = map_videos(Predictor, work, range(len(entries)), gpus, title, room, progress)
    return collect_in_order(parts)["probabilities"]
