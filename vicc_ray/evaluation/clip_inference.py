"""Class probabilities of whole stored videos: the mean softmax over the windows and crops of the protocol.

N videos, n windows (times crops), F features, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from vicc_ray.clip_store.catalog import VideoRecord
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config
from vicc_ray.evaluation.video_features import iter_windows
from vicc_ray.models.classifier import Classifier
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.input_convention import ClipInput, InputConvention
from vicc_ray.video.flow import FlowUnit


def build_classifier(tensors: Mapping[str, Tensor], config: Config) -> Classifier:
    """The classifier of a checkpoint's ``model.safetensors``, in eval mode, with the settings of ``config``."""
    encoder = f"{config.classify.stream}.encoder."
    classes = len(tensors["classifier.linear.bias"])
    network = Classifier(build_encoder(config.model), classes, frozen=config.classify.mode == "probe")
    for prefix, module in ((encoder, network.encoder), ("classifier.", network.layers)):
        module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    return network.eval()


@torch.inference_mode()
def predict_windows(
    network: Classifier, to_input: ClipInput, clips: np.ndarray, batch: int, device: torch.device
) -> Tensor:
    """Softmax of clips uint8 [n, T, S, S, C], float32 [n, K]; ``network`` in eval mode."""
    chunks = torch.from_numpy(clips).split(batch)
    return torch.cat([network(to_input(chunk.to(device))).softmax(dim=1) for chunk in chunks])


def predict_videos(
    network: Classifier, store: ClipStore, entries: Sequence[VideoRecord], config: Config, device: torch.device
) -> np.ndarray:
    """Probabilities float32 [N, K], rows in the order of ``entries``."""
    stream, rows = config.classify.stream, []
    to_input = ClipInput(InputConvention.of(stream, config.model), FlowUnit.of(store.settings))
    for entry in entries:
        chunks = iter_windows(store, entry, [stream], config.clip, config.evaluate, "classification")
        size = config.evaluate.batch_size
        parts = [predict_windows(network, to_input, clips[stream], size, device) for clips in chunks]
        rows.append(torch.cat(parts).mean(dim=0).cpu().numpy())
    return np.stack(rows)
