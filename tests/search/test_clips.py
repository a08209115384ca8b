"""Clips of a file: the same windows as in evaluation and in an index."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import vicc_ray
from tests.videos import moving, write_video
from vicc_ray.config import ClipConfig, ModelConfig
from vicc_ray.errors import UserError
from vicc_ray.models.weights_io import EncoderWeights
from vicc_ray.video.clip_sampling import windows
from vicc_ray.video.decode import decode_video

CLIP = ClipConfig(frames=6, frame_stride=2, size=112)
NETWORK = EncoderWeights("rgb", ModelConfig(backbone="tiny"), CLIP, {})


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "video.mp4", moving(45, 112, 160))


def test_clips_are_the_windows_of_the_evaluation_in_the_center(video: Path) -> None:
    clips = vicc_ray.load_clips(video, NETWORK)
    frames = decode_video(video, short_side=112, max_frames=99, timeout_s=60, grid=2).frames[:, :, 24:136]
    assert np.array_equal(clips, frames[windows(45, 6, 2, overlap=0.5, max_windows=10)])
    assert (clips.dtype, clips.shape[1:]) == (np.uint8, (6, 112, 112, 3))


def test_a_network_that_is_tested_with_a_smaller_crop_gets_it(tmp_path: Path) -> None:
    """A bright border of a tenth of the short side is outside a crop of four fifths."""
    frames = np.full((8, 120, 160, 3), 255, np.uint8)
    frames[:, 12:108, 32:128] = 0
    border = write_video(tmp_path / "border.mp4", frames)
    network = replace(NETWORK, clip=ClipConfig(frames=6, size=96))
    assert vicc_ray.load_clips(border, network)[..., 0, 0, :].min() > 200
    cropped = vicc_ray.load_clips(border, replace(network, crop_share=0.8))
    assert cropped.shape[2:] == (96, 96, 3)
    assert cropped[..., 2:-2, 2:-2, :].max() < 50


def test_arguments_change_the_number_of_windows(video: Path) -> None:
    assert len(vicc_ray.load_clips(str(video), NETWORK, max_windows=2)) == 2
    assert len(vicc_ray.load_clips(video, NETWORK, overlap=0.0)) < len(vicc_ray.load_clips(video, NETWORK))
    small = replace(NETWORK, clip=CLIP.model_copy(update={"size": 32}))
    assert vicc_ray.load_clips(video, small, max_frames=3).shape == (1, 6, 32, 32, 3)
    with pytest.raises(ValueError, match="overlap"):
        vicc_ray.load_clips(video, NETWORK, overlap=1.0)


def test_a_relative_name_with_a_colon_is_a_file(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a:b.mp4").symlink_to(video)
    monkeypatch.chdir(tmp_path)
    assert len(vicc_ray.load_clips("a:b.mp4", NETWORK)) == len(vicc_ray.load_clips(video, NETWORK))


def test_errors_name_the_path(tmp_path: Path) -> None:
    (tmp_path / "note.mp4").write_text("no video")
    for name in ("note.mp4", "gone.mp4"):
        with pytest.raises(UserError, match=name):
            vicc_ray.load_clips(tmp_path / name, NETWORK)
