"""Features computed on Ray: equal to those of one process, written in parts, resumed by part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.pipelines.prepared import parts
from tests.pipelines.runs import settings
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.evaluation import feature_store
from vicc_ray.evaluation.feature_store import feature_path, load_features
from vicc_ray.evaluation.video_features import embed_videos
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.input_convention import InputConvention
from vicc_ray.pipelines.inference import feature_writer
from vicc_ray.pipelines.inference.embed import StreamWeights
from vicc_ray.pipelines.inference.feature_writer import make_features


def test_features_equal_those_of_one_process_and_only_missing_parts_are_computed(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (feature_store, feature_writer):
        monkeypatch.setattr(module, "PART_VIDEOS", 7)  # of 20
    config, opened = settings(), ClipStore(store)
    torch.manual_seed(0)
    encoders = {stream: build_encoder(config.model).eval() for stream in ("rgb", "flow")}
    networks = {f"{stream}-random": StreamWeights(stream, encoder.state_dict()) for stream, encoder in encoders.items()}
    make_features(networks, opened, config, tmp_path, progress=False)
    expected = embed_videos(
        {
            f"{stream}-random": (InputConvention.of(stream, config.model), encoder)
            for stream, encoder in encoders.items()
        },
        *(opened, opened.entries, config.clip, config.evaluate, torch.device("cpu")),
    )
    for name in networks:
        table = load_features(feature_path(tmp_path, name))
        assert table.ids.tolist() == opened.entries.column("id")
        assert table.splits.tolist() == opened.entries.column("split")
        np.testing.assert_allclose(table.features, expected[name], rtol=1e-4, atol=1e-5)
    before = {name: parts(feature_path(tmp_path, name)) for name in networks}
    (feature_path(tmp_path, "rgb-random") / "part-00001.parquet").unlink()
    make_features(networks, opened, config, tmp_path, progress=False)
    after = {name: parts(feature_path(tmp_path, name)) for name in networks}
    assert after["flow-random"] == before["flow-random"]
    changed = [part for part, state in after["rgb-random"].items() if state != before["rgb-random"][part]]
    assert changed == ["part-00001.parquet"]
    other = build_encoder(config.model).state_dict()
    make_features({"flow-random": StreamWeights("flow", other)}, opened, config, tmp_path, progress=False)
    loaded = load_features(feature_path(tmp_path, "flow-random"))
    assert not np.allclose(loaded.features, expected["flow-random"], rtol=0.1)  # of the other network
    loaded = load_features(feature_path(tmp_path, "rgb-random"))
    np.testing.assert_allclose(loaded.features, expected["rgb-random"], rtol=1e-4, atol=1e-5)
