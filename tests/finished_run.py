"""Fixtures: a small run folder and clip store, as the pipelines write them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from tests.run_folder import PHASES, PROTOTYPES, features_of, write_metrics
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.clip_store.schema import VideoMetadata, shard_path, write_store_file
from vicc_ray.clip_store.writer import encode_video, open_shard_writer
from vicc_ray.config import Config, MethodConfig, TrainConfig
from vicc_ray.evaluation.feature_store import feature_path, save_features
from vicc_ray.evaluation.retrieval_results import evaluate_features

CLASSES = ("left & right", "<script>alert(1)</script>")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    """Twelve videos of colored noise, 24 frames of 32 x 40, in two shards."""
    path = tmp_path_factory.mktemp("store")
    rng = np.random.default_rng(0)
    for shard in range(2):
        with open_shard_writer(shard_path(path, shard)) as writer:
            for n in range(6):
                frames = np.stack([smooth_noise(rng, 256) for _ in range(24)])
                flow = np.stack([smooth_noise(rng, 56)[::2, ::2, :2] + 100 for _ in range(24)])
                split = "train" if n < 4 else "test"
                about = VideoMetadata(f"{shard}/{n}.mp4", CLASSES[shard], f"{shard}-{n}", split)
                writer.write(encode_video(about, 12.0, zip(frames, flow, strict=True), Config().prepare))
    write_store_file(path, Config().prepare, 2)
    failure = {"path": "<b>broken.mp4", "reason": "not a video"}
    (path / "failures.jsonl").write_text(json.dumps(failure) + "\n")
    return ClipStore(path)


@pytest.fixture
def run_dir(tmp_path: Path, store: ClipStore) -> Path:
    """A finished run over ``store``, with metrics of four phases of 60 steps."""
    run = tmp_path / "run"
    config = Config(
        name="a <run>",
        train=TrainConfig(global_batch_size=16),
        method=MethodConfig(num_prototypes=PROTOTYPES, queue_size=0),
    )
    run.mkdir()
    (run / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    (run / "versions.json").write_text(json.dumps({"python": "3.11", "torch": "2.15"}))
    write_metrics(run)
    for seed, name in enumerate(("rgb-random", "flow-random", *PHASES)):
        save_features(feature_path(run / "evaluation", name), features_of(store, seed))
    evaluate_features(run / "evaluation", config)
    return run


def smooth_noise(rng: np.random.Generator, levels: int) -> np.ndarray:
    return cv2.resize(rng.integers(levels, size=(4, 5, 3), dtype=np.uint8), (40, 32))
