"""Probabilities of whole videos: the mean of the softmax over windows and crops of a stored classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config
from vicc_ray.evaluation.clip_inference import build_classifier, predict_videos
from vicc_ray.evaluation.video_features import iter_windows
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.input_convention import InputConvention
from vicc_ray.runs.checkpoint_state import read_model, take_snapshot
from vicc_ray.runs.schedule import Phase
from vicc_ray.training.tasks.classifier_trainer import ClassifierTrainer
from vicc_ray.video.flow import FlowUnit

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("mode", "stream", "flow_input"),
    [("probe", "rgb", "signed"), ("finetune", "flow", "signed"), ("probe", "flow", "picture")],
)
def test_a_checkpoints_classifier_gives_the_mean_of_its_softmax(
    store: ClipStore, tmp_path: Path, mode: str, stream: str, flow_input: str
) -> None:
    config = Config.model_validate(
        {
            "clip": {"frames": 8, "size": 32},
            "model": {"backbone": "tiny", "embed_dim": 8, "flow_input": flow_input},
            "evaluate": {"crops": "ten", "max_windows_per_video": 3, "batch_size": 7},
            "classify": {"mode": mode, "stream": stream, "global_batch_size": 2},
        }
    )
    trainer = ClassifierTrainer(config, CPU, build_encoder(config.model), torch.arange(4), 4)
    trainer.start_phase(Phase(0, mode, 0, config.classify.stream, False, 0, 1, 1))
    torch.nn.init.normal_(trainer.network.layers["linear"].weight)
    take_snapshot(trainer, 0, 0.0, {}).write(tmp_path)
    network = build_classifier(read_model(tmp_path), config)
    probabilities = predict_videos(network, store, store.entries[:3], config, CPU)
    assert (probabilities.shape, probabilities.dtype) == ((3, 4), np.float32)
    trainer.network.eval()
    for entry, row in zip(store.entries[:3], probabilities, strict=True):
        (windows,) = iter_windows(store, entry, [config.classify.stream], config.clip, config.evaluate)
        clips = torch.from_numpy(windows[stream])
        assert len(clips) == 30
        convention = InputConvention.of(config.classify.stream, config.model)
        x = convention.to_input(clips, FlowUnit.of(store.settings))
        with torch.no_grad():
            expected = trainer.network(x).softmax(dim=1).mean(dim=0)
        torch.testing.assert_close(torch.from_numpy(row), expected, atol=1e-5, rtol=1e-4)
