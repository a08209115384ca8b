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
from vicc_ray.video.flow import dequantize, quantize, shrink

BOUND = 20.0
SETTINGS = PrepareConfig(short_side=48, group=4)


def smooth_flow(frames: int, height: int, width: int, seed: int) -> NDArray[np.float32]:
    """Random smooth flow of about +-10 pixels, float32 [T, H, W, 2]."""
    coarse = np.random.default_rng(seed).uniform(-10, 10, (frames, 3, 4, 2)).astype(np.float32)
    return np.stack([cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in coarse])


def sample(seed: int, frames: int = 6, height: int = 64, width: int = 84) -> tuple[Video, NDArray[np.float32]]:
    return Video(moving(frames, height, width, seed=seed), 25.0), smooth_flow(frames, height, width, seed)


def halved(flow: NDArray[np.float32]) -> NDArray[np.uint8]:
    return quantize(np.stack([shrink(field, 2) for field in flow]), BOUND)


def row(about: VideoMetadata, video: Video, flow: NDArray[np.uint8]) -> dict[str, Any]:
    return encode_video(about, video.fps, zip(video.frames, flow, strict=True), SETTINGS)


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


def test_frames_and_flow_survive(tmp_path: Path) -> None:
    store = ClipStore(make_store(tmp_path, [[0, 1], [2]]))
    for entry, seed in zip(store.entries, (0, 1, 2), strict=True):
        video, flow = sample(seed)
        stored = store.read(entry)
        rgb = stored.rgb(np.arange(stored.frames))
        assert rgb.shape == video.frames.shape
        assert 10 * np.log10(255**2 / np.mean((rgb.astype(float) - video.frames) ** 2)) > 34
        small = dequantize(stored.flow(np.arange(stored.frames)), BOUND)
        assert small.shape == (6, 32, 42, 2)
        back = np.stack([cv2.resize(field, (84, 64)) for field in small])
        assert np.linalg.norm(back - flow, axis=-1).mean() <= 0.1


def test_no_motion_stays_exactly_zero(tmp_path: Path) -> None:
    video = Video(moving(2, 32, 32), 25.0)
    with open_shard_writer(shard_path(tmp_path, 0)) as writer:
        writer.write(row(VideoMetadata("a"), video, np.full((2, 16, 16, 2), 128, np.uint8)))
    write_store_file(tmp_path, SETTINGS, 1)
    store = ClipStore(tmp_path)
    assert (store.read(store.entries[0]).flow([0, 1]) == 128).all()


def test_random_access_equals_the_whole(tmp_path: Path) -> None:
    store = ClipStore(make_store(tmp_path, [[0]]))
    stored = store.read(store.entries[0])
    picks = np.array([5, 0, 3, 3])  # two groups, from the second and from the middle of the first
    assert np.array_equal(stored.rgb(picks), stored.rgb(np.arange(6))[picks])
    assert np.array_equal(stored.flow(picks), stored.flow(np.arange(6))[picks])
    assert stored.rgb([]).shape == (0, 64, 84, 3)


def test_entries_tell_everything_in_the_order_of_ids(tmp_path: Path) -> None:
    store = ClipStore(make_store(tmp_path, [[3, 0], [], [2, 1]]))
    assert [(e.id, e.shard, e.row) for e in store.entries] == [
        ("c/0", 0, 1), ("c/1", 2, 1), ("c/2", 2, 0), ("c/3", 0, 0),
    ]  # fmt: skip
    first = store.entries[0]
    assert (first.label, first.source, first.split, first.content) == ("c", "s0", "train", "0" * 32)
    assert (first.frames, first.height, first.width, first.fps) == (6, 64, 84, 25.0)
    assert store.settings == SETTINGS


def test_one_column_can_be_left_out(tmp_path: Path) -> None:
    store = ClipStore(make_store(tmp_path, [[0, 1]]))
    entry = store.entries[1]
    assert np.array_equal(store.read(entry, ["flow"]).flow([2]), store.read(entry).flow([2]))
    assert np.array_equal(store.read(entry, ["rgb"]).rgb([2]), store.read(entry).rgb([2]))


def test_a_row_is_read_without_its_neighbours(tmp_path: Path) -> None:
    with pq.ParquetFile(shard_path(make_store(tmp_path, [[0, 1, 2]]), 0)) as file:
        assert file.schema_arrow.equals(SCHEMA)
        assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [1, 1, 1]


def test_a_store_is_used_from_threads_and_other_processes(tmp_path: Path) -> None:
    store = ClipStore(make_store(tmp_path, [[n] for n in range(40)]))  # more shards than are kept open
    expected = {entry.id: store.read(entry).rgb([1]) for entry in store.entries}
    copy = pickle.loads(pickle.dumps(store))
    jobs = list(copy.entries) * 3
    with ThreadPoolExecutor(4) as pool:
        for entry, frames in zip(jobs, pool.map(lambda e: copy.read(e).rgb([1]), jobs), strict=True):
            assert np.array_equal(frames, expected[entry.id])


def test_an_interrupted_shard_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_shard_writer(shard_path(tmp_path, 0)):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_frames_and_flow_must_match_keep_their_size_and_lie_on_the_grid() -> None:
    video, flow = sample(0)
    with pytest.raises(ValueError, match="flow is"):
        row(VideoMetadata("a"), video, halved(flow)[:, :, :-1])
    odd, flow = sample(0, width=85)
    with pytest.raises(ValueError, match="64 x 85, not multiples of 2"):
        row(VideoMetadata("a"), odd, halved(flow))
    two = [(np.zeros((side, 32, 3), np.uint8), np.zeros((side // 2, 16, 2), np.uint8)) for side in (32, 48)]
    with pytest.raises(ValueError, match="one size"):
        encode_video(VideoMetadata("a"), 25.0, two, SETTINGS)
    with pytest.raises(ValueError, match="none"):
        encode_video(VideoMetadata("a"), 25.0, [], SETTINGS)


def test_what_is_no_whole_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a clip store"):
        ClipStore(tmp_path)
    make_store(tmp_path, [[0], [1]])
    shard_path(tmp_path, 1).unlink()
    with pytest.raises(UserError, match="1 of 2 shards are missing"):
        ClipStore(tmp_path)
    content = json.loads((tmp_path / "store.json").read_text())
    (tmp_path / "store.json").write_text(json.dumps({**content, "format": 99}))
    with pytest.raises(UserError, match="format 99"):
        ClipStore(tmp_path)
    (tmp_path / "store.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        ClipStore(tmp_path)


@pytest.mark.parametrize(("column", "message"), [("rgb", "frame 3 cannot be decoded"), ("flow", "group 1 .* no JPEG")])
def test_a_damaged_frame_is_named_with_what_to_do(tmp_path: Path, column: str, message: str) -> None:
    make_store(tmp_path, [[0], [1]])
    rows = pq.read_table(shard_path(tmp_path, 1)).to_pylist()
    rows[0][column][-1 if column == "flow" else 3] = b"no picture"
    with open_shard_writer(shard_path(tmp_path, 1)) as writer:
        writer.write(rows[0])
    store = ClipStore(tmp_path)
    read = getattr(store.read(store.entries[1]), column)
    assert len(read([2])) == 1
    with pytest.raises(UserError, match=rf"part-00001\.parquet .* \(c/1: {message}.*\); remove"):
        read([2, 3, 5])


def test_a_changed_byte_does_not_go_unnoticed(tmp_path: Path) -> None:
    shard = shard_path(make_store(tmp_path, [[0]]), 0)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1  # amid the pictures
    shard.write_bytes(content)
    store = ClipStore(tmp_path)
    with pytest.raises(UserError, match=r"c/0 cannot be read"):
        store.read(store.entries[0])


@pytest.mark.parametrize("keep", [0, 0.5])
def test_a_cut_shard_is_named_with_what_to_do(tmp_path: Path, keep: float) -> None:
    shard = shard_path(make_store(tmp_path, [[0]]), 0)
    shard.write_bytes(shard.read_bytes()[: int(keep * shard.stat().st_size)])
    with pytest.raises(UserError, match=r"part-00000\.parquet is damaged"):
        _ = ClipStore(tmp_path).entries


def test_damage_since_the_store_was_opened_is_named(tmp_path: Path) -> None:
    shard = shard_path(make_store(tmp_path, [[0]]), 0)
    store = ClipStore(tmp_path)
    entry = store.entries[0]
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(UserError, match=r"part-00000\.parquet is damaged"):
        store.read(entry)
