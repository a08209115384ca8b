from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from tests.videos import moving
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.clip_store.schema import SCHEMA, VideoMetadata, shard_path, write_store_file
from vicc_ray.clip_store.writer import encode_video, open_shard_writer
from vicc_ray.config import PrepareConfig
from vicc_ray.errors import UserError
from vicc_ray.video.decode import Video
from vicc_ray.video.flow import dequantize, quantize, resize_flow

BOUND = 20.0
SETTINGS = PrepareConfig(short_side=48, gop_size=4)


def smooth_flow(frames: int, height: int, width: int, seed: int) -> NDArray[np.float32]:
    """Random smooth flow of about +-10 pixels, float32 [T, H, W, 2]."""
    coarse = np.random.default_rng(seed).uniform(-10, 10, (frames, 3, 4, 2)).astype(np.float32)
    return np.stack([cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in coarse])


def sample(seed: int, frames: int = 6, height: int = 64, width: int = 84) -> tuple[Video, NDArray[np.float32]]:
    return Video(moving(frames, height, width, seed=seed), 25.0), smooth_flow(frames, height, width, seed)


def halved(flow: NDArray[np.float32]) -> NDArray[np.uint8]:
    side = flow.shape[1:3]
    return quantize(np.stack([resize_flow(field, (side[0] // 2, side[1] // 2), side) for field in flow]), BOUND)


def row(metadata: VideoMetadata, video: Video, flow: NDArray[np.uint8]) -> dict[str, Any]:
    return encode_video(metadata, video.fps, zip(video.frames, flow, strict=True), SETTINGS)


def make_store(path: Path, shards: list[list[int]]) -> Path:
    for shard, seeds in enumerate(shards):
        with open_shard_writer(shard_path(path, shard)) as writer:
            for seed in seeds:
                video, flow = sample(seed)
                writer.write(
                    row(VideoMetadata(f"c/{seed}", "c", f"s{seed}", "train", f"{seed:032x}"), video, halved(flow))
                )
    write_store_file(path, SETTINGS, len(shards))
    return path


def test_frames_and_flow_survive_compression(tmp_path: Path) -> None:
    store = ClipStore(make_store(tmp_path, [[0, 1], [2]]))
    for entry, seed in zip(store.entries, (0, 1, 2), strict=True):
        video, flow = sample(seed)
        stored = store.read(entry)
        rgb = stored.rgb(np.arange(stored.frames))
        assert rgb.shape == video.frames.shape
        assert 10 * np.log10(255**2 / np.mean((rgb.astype(float) - video.frames) ** 2)) > 34
        small = dequantize(stored.flow(np.arange(stored.frames)), BOUND)
        assert small.shape == (6, 32, 42, 2)
        restored = np.stack([cv2.resize(field, (84, 64)) for field in small])
        assert np.linalg.norm(restored - flow, axis=-1).mean() <= 0.1


def test_zero_flow_stays_exactly_zero(tmp_path: Path) -> None:
    video = Video(moving(2, 32, 32), 25.0)
    with open_shard_writer(shard_path(tmp_path, 0)) as writer:
        writer.write(row(VideoMetadata("a"), video, np.full((2, 16, 16, 2), 128, np.uint8)))
    write_store_file(tmp_path, SETTINGS, 1)
    store = ClipStore(tmp_path)
    assert (store.read(store.entries[0]).flow([0, 1]) == 128).all()


def test_random_access_equals_sequential_reading(tmp_path: Path) -> None:
    store = ClipStore(make_store(tmp_path, [[0]]))
    stored = store.read(store.entries[0])
    picks = np.array([5, 0, 3, 3])  # frames of both groups, out of order and repeated
    assert np.array_equal(stored.rgb(picks), stored.rgb(np.arange(6))[picks])
    assert np.array_equal(stored.flow(picks), stored.flow(np.arange(6))[picks])
    assert stored.rgb([]).shape == (0, 64, 84, 3)


def test_the_catalog_has_all_metadata_and_is_sorted_by_id(tmp_path: Path) -> None:
    store = ClipStore(make_store(tmp_path, [[3, 0], [], [2, 1]]))
    assert [(e.id, e.shard, e.row) for e in store.entries] == [
        ("c/0", 0, 1), ("c/1", 2, 1), ("c/2", 2, 0), ("c/3", 0, 0),
    ]  # fmt: skip
    first = store.entries[0]
    assert (first.label, first.source, first.split, first.content) == ("c", "s0", "train", "0" * 32)
    assert (first.frames, first.height, first.width, first.fps) == (6, 64, 84, 25.0)
    assert store.settings == SETTINGS


def test_a_single_stream_can_be_read(tmp_path: Path) -> None:
    store = ClipStore(make_store(tmp_path, [[0, 1]]))
    entry = store.entries[1]
    assert np.array_equal(store.read(entry, ["flow"]).flow([2]), store.read(entry).flow([2]))
    assert np.array_equal(store.read(entry, ["rgb"]).rgb([2]), store.read(entry).rgb([2]))


def test_every_row_is_a_row_group(tmp_path: Path) -> None:
    with pq.ParquetFile(shard_path(make_store(tmp_path, [[0, 1, 2]]), 0)) as file:
        assert file.schema_arrow.equals(SCHEMA)
        assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [1, 1, 1]


@pytest.mark.slow
def test_a_store_can_be_pickled_and_read_from_threads(tmp_path: Path) -> None:
    store = ClipStore(make_store(tmp_path, [[n] for n in range(40)]))  # more shards than stay open
    expected = {entry.id: store.read(entry).rgb([1]) for entry in store.entries}
    copy = pickle.loads(pickle.dumps(store))
    jobs = list(copy.entries) * 3
    with ThreadPoolExecutor(4) as pool:
        for entry, frames in zip(jobs, pool.map(lambda e: copy.read(e).rgb([1]), jobs), strict=True):
            assert np.array_equal(frames, expected[entry.id])


def test_an_interrupted_writer_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_shard_writer(shard_path(tmp_path, 0)):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_frames_and_flow_must_have_one_size_that_is_a_multiple_of_the_grid() -> None:
    video, flow = sample(0)
    with pytest.raises(ValueError, match="flow"):
        row(VideoMetadata("a"), video, halved(flow)[:, :, :-1])
    odd, flow = sample(0, width=85)
    with pytest.raises(ValueError, match=r"64 x 85.*multiples of 2"):
        row(VideoMetadata("a"), odd, halved(flow))
    two = [(np.zeros((side, 32, 3), np.uint8), np.zeros((side // 2, 16, 2), np.uint8)) for side in (32, 48)]
    with pytest.raises(ValueError, match=r"32, 32.*48, 32"):
        encode_video(VideoMetadata("a"), 25.0, two, SETTINGS)
    with pytest.raises(ValueError, match="none"):
        encode_video(VideoMetadata("a"), 25.0, [], SETTINGS)


def test_a_folder_without_a_complete_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"store\.json"):
        ClipStore(tmp_path)
    make_store(tmp_path, [[0], [1]])
    shard_path(tmp_path, 1).unlink()
    with pytest.raises(UserError, match="1 of 2 shards"):
        ClipStore(tmp_path)
    content = json.loads((tmp_path / "store.json").read_text())
    (tmp_path / "store.json").write_text(json.dumps({**content, "format": 99}))
    with pytest.raises(UserError, match="format 99"):
        ClipStore(tmp_path)
    (tmp_path / "store.json").write_text("{")
    with pytest.raises(UserError, match=r"store\.json"):
        ClipStore(tmp_path)


@pytest.mark.parametrize(("column", "message"), [("rgb", "frame 3"), ("flow", "group 1")])
def test_a_damaged_frame_is_named_with_its_file(tmp_path: Path, column: str, message: str) -> None:
    make_store(tmp_path, [[0], [1]])
    rows = pq.read_table(shard_path(tmp_path, 1)).to_pylist()
    rows[0][column][-1 if column == "flow" else 3] = b"no picture"
    with open_shard_writer(shard_path(tmp_path, 1)) as writer:
        writer.write(rows[0])
    store = ClipStore(tmp_path)
    read = getattr(store.read(store.entries[1]), column)
    assert len(read([2])) == 1
    with pytest.raises(UserError, match=rf"part-00001\.parquet .*c/1: {message}"):
        read([2, 3, 5])


def test_a_flipped_bit_is_detected(tmp_path: Path) -> None:
    shard = shard_path(make_store(tmp_path, [[0]]), 0)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1  # in the compressed frames
    shard.write_bytes(content)
    store = ClipStore(tmp_path)
    with pytest.raises(UserError, match=r"part-00000\.parquet .*c/0"):
        store.read(store.entries[0])


@pytest.mark.parametrize("keep", [0, 0.5])
def test_a_truncated_shard_is_named(tmp_path: Path, keep: float) -> None:
    shard = shard_path(make_store(tmp_path, [[0]]), 0)
    shard.write_bytes(shard.read_bytes()[: int(keep * shard.stat().st_size)])
    with pytest.raises(UserError, match=r"part-00000\.parquet"):
        _ = ClipStore(tmp_path).entries


def test_a_shard_damaged_after_the_store_was_opened_is_named(tmp_path: Path) -> None:
    shard = shard_path(make_store(tmp_path, [[0]]), 0)
    store = ClipStore(tmp_path)
    entry = store.entries[0]
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(UserError, match=r"part-00000\.parquet"):
        store.read(entry)
