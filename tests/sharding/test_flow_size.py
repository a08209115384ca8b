"""Flow of frames at the stored or at the source's size, and the unit of its displacements."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.stored import store_of
from tests.stored import video as stored_row
from tests.videos import moving, write_video
from vicc_ray.clip_store.reader import ClipStore, StoredVideo
from vicc_ray.clip_store.schema import write_store_file
from vicc_ray.config import PrepareConfig
from vicc_ray.config.loader import load_config
from vicc_ray.errors import UserError
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.sharding import build_shard
from vicc_ray.sharding.plan import PlannedVideo
from vicc_ray.training.tasks.classification import Classification
from vicc_ray.training.tasks.pretraining import Pretraining
from vicc_ray.video.flow import compute_flow, dequantize

SIZES_AND_UNITS = list(product(("stored", "source"), repeat=2))
VELOCITY = (4, -2)


def stored(folder: Path, file: Path, **settings: Any) -> StoredVideo:
    """The video as ``prepare`` stores it."""
    prepare = PrepareConfig.model_validate({"short_side": 48, "flow_quality": 100, **settings})
    folder.mkdir()
    assert build_shard.build_shard(folder, 0, [(file, PlannedVideo(file.name, "", "", ""))], prepare) == 0
    write_store_file(folder, prepare, 1)
    store = ClipStore(folder)
    return store.read(store.entries[0])


def displacement(video: StoredVideo) -> NDArray[np.float32]:
    """Median displacement (right, down) of the inner part of a video."""
    flow = dequantize(video.flow(np.arange(video.frames - 1)), video.settings.flow_bound)
    return np.median(flow[:, 4:-4, 4:-4], axis=(0, 1, 2))


@pytest.mark.parametrize(("size", "unit"), SIZES_AND_UNITS)
def test_displacements_are_in_pixels_of_the_unit_whatever_frames_they_were_computed_on(
    tmp_path: Path, size: str, unit: str
) -> None:
    file = write_video(tmp_path / "film.mp4", moving(4, 96, 128, VELOCITY))
    video = stored(tmp_path / "store", file, flow_size=size, flow_unit=unit)
    assert (video.entry.height, video.entry.width) == (48, 64)
    assert video.flow([0]).shape == (1, 24, 32, 2)
    scale = 1.0 if unit == "source" else 0.5
    assert displacement(video) == pytest.approx(np.multiply(VELOCITY, scale), abs=0.2)
    assert (video.settings.flow_size, video.settings.flow_unit) == (size, unit)


def test_the_frames_are_the_same_whatever_flow_is_computed_on(tmp_path: Path) -> None:
    file = write_video(tmp_path / "film.mp4", moving(5, 96, 128, VELOCITY))
    first, second = (stored(tmp_path / size, file, flow_size=size) for size in ("stored", "source"))
    assert np.array_equal(first.rgb(np.arange(5)), second.rgb(np.arange(5)))
    assert not np.array_equal(first.flow([0]), second.flow([0]))


@pytest.mark.parametrize(("size", "unit"), SIZES_AND_UNITS)
def test_a_video_of_the_stored_size_has_one_flow_in_all_settings(tmp_path: Path, size: str, unit: str) -> None:
    file = write_video(tmp_path / "film.mp4", moving(4, 48, 64, (1, 1)))
    expected = stored(tmp_path / "expected", file).flow(np.arange(4))
    assert np.array_equal(stored(tmp_path / "store", file, flow_size=size, flow_unit=unit).flow(np.arange(4)), expected)


def test_flow_at_the_source_s_size_is_that_of_the_unscaled_frames(tmp_path: Path) -> None:
    frames = moving(4, 96, 128, VELOCITY)
    file = write_video(tmp_path / "film.mp4", frames)
    video = stored(tmp_path / "store", file, flow_size="source", flow_unit="source", flow_downscale=1)
    flow = dequantize(video.flow(np.arange(4)), 20.0)
    means = compute_flow(frames, "dis").reshape(4, 48, 2, 64, 2, 2).mean(axis=(2, 4))
    assert np.linalg.norm(flow - means, axis=-1).mean() < 0.15


@pytest.mark.parametrize("size", ["stored", "source"])
@pytest.mark.parametrize(
    ("shape", "aspect", "rotation", "expected"),
    [
        ((96, 64), "2:1", 0, (8, -2)),  # 64 stored columns are shown as 128
        ((128, 96), "1:1", 90, (-2, -4)),  # a quarter turn to the left: right becomes up
    ],
)
def test_the_source_s_pixels_are_square_and_upright(
    tmp_path: Path, size: str, shape: tuple[int, int], aspect: str, rotation: int, expected: tuple[int, int]
) -> None:
    frames = moving(4, *shape, VELOCITY)
    file = write_video(tmp_path / "film.mp4", frames, pixel_aspect=aspect, rotation=rotation)
    video = stored(tmp_path / "store", file, flow_size=size, flow_unit="source")
    assert (video.entry.height, video.entry.width) == (48, 64)
    assert displacement(video) == pytest.approx(expected, abs=0.4)


def test_flow_of_large_frames_is_computed_on_smaller_ones_in_the_same_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_shard, "MAX_FLOW_SIDE", 72)
    seen = set[tuple[int, ...]]()
    items_with_flow = build_shard.items_with_flow
    monkeypatch.setattr(
        build_shard,
        "items_with_flow",
        lambda pairs, method: items_with_flow(((a, seen.add(b.shape[:2]) or b) for a, b in pairs), method),
    )
    file = write_video(tmp_path / "film.mp4", moving(4, 96, 128, VELOCITY))
    for unit, scale in (("source", 1.0), ("stored", 0.5)):
        video = stored(tmp_path / unit, file, flow_size="source", flow_unit=unit)
        assert displacement(video) == pytest.approx(np.multiply(VELOCITY, scale), abs=0.2)
    assert seen == {(72, 96)}


@pytest.mark.parametrize(("size", "unit"), SIZES_AND_UNITS)
def test_a_video_smaller_than_the_stored_frames_is_enlarged(tmp_path: Path, size: str, unit: str) -> None:
    file = write_video(tmp_path / "film.mp4", moving(4, 32, 48, (2, -1)))
    video = stored(tmp_path / "store", file, short_side=64, flow_size=size, flow_unit=unit)
    assert video.flow([0]).shape == (1, 32, 48, 2)
    scale = 2.0 if unit == "stored" else 1.0
    assert displacement(video) == pytest.approx(np.multiply((2, -1), scale), abs=0.3)


PEAK_OF_ONE_VIDEO = r"""
import re, sys
from pathlib import Path
from vicc_ray.config import PrepareConfig
from vicc_ray.sharding.build_shard import build_shard
from vicc_ray.sharding.plan import PlannedVideo
settings = PrepareConfig(short_side=64, flow_size="source", timeout_s=300)
assert build_shard(Path(sys.argv[2]), 0, [(Path(sys.argv[1]), PlannedVideo("a", "", "", ""))], settings) == 0
print(int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.slow
def test_memory_grows_neither_with_the_length_nor_with_the_size_of_large_videos(tmp_path: Path) -> None:
    peaks = []
    for height, width, frames in ((1080, 1920, 4), (1080, 1920, 24), (2160, 3840, 4)):
        picture = moving(1, height // 8, width // 8)[0].repeat(8, axis=0).repeat(8, axis=1)
        film = np.stack([np.roll(picture, 4 * t, axis=1) for t in range(frames)])
        file = write_video(tmp_path / f"{height}-{frames}.mp4", film)
        out = tmp_path / f"{height}-{frames}"
        out.mkdir()
        command = [sys.executable, "-c", PEAK_OF_ONE_VIDEO, file, out]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] < peaks[0] + 100  # 20 more frames of RGB and flow at that size take 440 MB
    assert peaks[2] < peaks[0] + 300  # decoder and frames of 4K; flow of it alone would take 66 MB more a field


def test_flow_in_pixels_of_the_source_is_not_scaled_with_the_crop(tmp_path: Path) -> None:
    rows = [stored_row(n, split="train" if n < 8 else "test") for n in range(10)]
    store = store_of(tmp_path, rows, settings=PrepareConfig(short_side=32, flow_unit="source"))
    config = load_config("demo", ["train.global_batch_size=4", "classify.global_batch_size=4"])
    Pretraining(config, store)
    scaled = config.model_copy(update={"clip": config.clip.model_copy(update={"scale_flow_with_crop": True})})
    message = r"(?s)clip\.scale_flow_with_crop: true.*prepare\.flow_unit source"
    with pytest.raises(UserError, match=message):
        Pretraining(scaled, store)
    with pytest.raises(UserError, match=message):
        Classification(scaled, store, RunDir(tmp_path / "run"))
