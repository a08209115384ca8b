"""Test clips of whole videos, and features averaged over them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import ClipConfig, EvaluateConfig, ModelConfig
from vicc_ray.evaluation.video_features import embed_videos, embed_windows, iter_windows
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.input_convention import RGB, ClipInput

CLIP = ClipConfig(frames=8, size=16)
CENTER, TEN = EvaluateConfig(), EvaluateConfig(crops="ten")
WINDOWS = 5
"""Of 8 frames in 24, by 4."""


@pytest.mark.parametrize(("evaluate", "clips"), [(CENTER, WINDOWS), (TEN, 10 * WINDOWS)])
def test_a_video_is_cut_into_windows_and_crops(store: ClipStore, evaluate: EvaluateConfig, clips: int) -> None:
    (clips_of,) = iter_windows(store, store.entries[0], ("rgb", "flow"), CLIP, evaluate)
    assert clips_of["rgb"].shape == (clips, 8, 16, 16, 3)
    assert clips_of["flow"].shape == (clips, 8, 16, 16, 2)
    np.testing.assert_array_equal(
        clips_of["rgb"][0][4:], clips_of["rgb"][1][:4]
    )  # adjacent windows share half of their frames


def test_the_last_five_of_ten_crops_are_the_first_five_mirrored(store: ClipStore) -> None:
    (clips_of,) = iter_windows(store, store.entries[0], ("rgb", "flow"), CLIP, TEN)
    half = 5 * WINDOWS
    np.testing.assert_array_equal(clips_of["rgb"][half:], clips_of["rgb"][:half, :, :, ::-1])
    straight, mirrored = (clips_of["flow"][part].astype(int) - 128 for part in (slice(0, half), slice(half, None)))
    np.testing.assert_array_equal(mirrored[..., 1], straight[:, :, :, ::-1, 1])
    np.testing.assert_array_equal(mirrored[..., 0], -np.maximum(straight[:, :, :, ::-1, 0], -127))


def test_features_are_the_mean_over_all_clips_whatever_the_batch(store: ClipStore) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(ModelConfig(backbone="tiny", embed_dim=8)).eval()
    (clips,) = (chunk["rgb"] for chunk in iter_windows(store, store.entries[1], ("rgb",), CLIP, TEN))
    device = torch.device("cpu")
    single = np.mean(
        [embed_windows(encoder, ClipInput(RGB, RGB.unit), clip[None], 1, device) for clip in clips], axis=0
    )
    features = embed_videos({"network": (RGB, encoder)}, store, [store.entries[1]], CLIP, TEN, device)["network"]
    np.testing.assert_allclose(features, single[None], rtol=1e-4, atol=1e-6)


def test_a_long_video_is_embedded_in_parts_as_if_it_were_one(store: ClipStore, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    encoders = {"network": (RGB, build_encoder(ModelConfig(backbone="tiny", embed_dim=8)).eval())}
    whole, parts = (
        (
            list(iter_windows(store, store.entries[0], ("rgb",), CLIP, TEN)),
            embed_videos(encoders, store, store.entries[:2], CLIP, TEN, torch.device("cpu"))["network"],
        )
        for most in (1000, 21)
        if monkeypatch.setattr("vicc_ray.evaluation.video_features.MAX_CLIPS", most) is None
    )
    assert [len(chunk["rgb"]) for chunk in parts[0]] == [20, 20, 10]
    by_crop = [chunk["rgb"].reshape(10, -1, *chunk["rgb"].shape[1:]) for chunk in parts[0]]
    np.testing.assert_array_equal(np.concatenate(by_crop, axis=1).reshape(whole[0][0]["rgb"].shape), whole[0][0]["rgb"])
    np.testing.assert_allclose(parts[1], whole[1], rtol=1e-4, atol=1e-6)
