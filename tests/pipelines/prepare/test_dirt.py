"""Odd and broken videos, prepared with real Ray: each gives a correct row or a line in failures.jsonl."""

from __future__ import annotations

import json
import os
from pathlib import Path

import av
import numpy as np
import pytest

from tests.pipelines.prepared import CONFIG, failures, run, write_videos
from tests.videos import moving, write_video
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import PrepareConfig
from vicc_ray.errors import UserError
from vicc_ray.pipelines.prepare.pipeline import PrepareSummary
from vicc_ray.sharding.truncated_videos import TRUNCATED_FILE


def write_ten_bits(path: Path) -> Path:
    """Write four frames of interlaced H.264 High 10, tagged as PQ and BT.2020: many oddities at once."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"x264-params": "tff=1"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p10le"
        stream.codec_context.color_primaries, stream.codec_context.color_trc, stream.codec_context.colorspace = 9, 16, 9
        for image in moving(4, 64, 96, (2, 0)):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p10le"))
            )
        container.mux(stream.encode(None))
    return path


def test_odd_videos_give_rows(tmp_path: Path) -> None:
    videos = write_videos(tmp_path / "videos", "one/same name.mp4", "two/same name.mp4")
    (videos / "two").rename(videos / os.fsdecode(b"caf\xe9"))  # Latin-1
    write_video(videos / "rotated.mp4", moving(3, 32, 64), rotation=90)
    write_video(videos / "rate.mkv", moving(4, 32, 64), timestamps=[0, 40, 200, 210])
    write_video(videos / "wide pixels.mp4", moving(3, 32, 32), pixel_aspect="2:1")
    write_video(videos / "tiny.mp4", moving(3, 2, 4))
    write_video(videos / "4k.mp4", np.repeat(np.repeat(moving(2, 270, 480), 8, axis=1), 8, axis=2))
    write_ten_bits(videos / "ten bits.mp4")
    summary = run(videos, tmp_path / "store")
    assert summary == PrepareSummary(rows=8, failures=0, inputs=8, processed=8, unlabelled=6)
    store = ClipStore(tmp_path / "store")
    sizes = {entry.id: (entry.frames, entry.height, entry.width) for entry in store.entries}
    assert sizes == {
        "one/same name.mp4": (6, 32, 48),
        "caf\\udce9/same name.mp4": (6, 32, 48),
        "rotated.mp4": (3, 64, 32),
        "rate.mkv": (4, 32, 64),
        "wide pixels.mp4": (3, 32, 64),
        "tiny.mp4": (3, 32, 64),
        "4k.mp4": (2, 32, 56),
        "ten bits.mp4": (4, 32, 48),
    }
    for entry in store.entries:
        video = store.read(entry)
        assert video.rgb([entry.frames - 1]).std() > 5
        assert video.flow([0]).shape == (1, entry.height // 2, entry.width // 2, 2)


def test_duplicate_content_is_reported_with_its_splits(tmp_path: Path) -> None:
    videos = write_videos(tmp_path / "videos", "a.mp4", "other.mp4", frames=3)
    for name in ("b.mp4", "c.mp4"):
        (videos / name).write_bytes((videos / "a.mp4").read_bytes())
    (videos / "d.mp4").write_bytes((videos / "other.mp4").read_bytes())
    splits = {"a.mp4": "train", "b.mp4": "test", "c.mp4": "train", "d.mp4": "train", "other.mp4": "train"}
    rows = "".join(f"{name},x,{split}\n" for name, split in splits.items())
    (videos / "labels.csv").write_text("path,label,split\n" + rows)
    summary = run(videos, tmp_path / "store")
    assert summary == PrepareSummary(rows=5, failures=0, inputs=5, processed=5, repeats=3, leaks=1)
    assert "3 repeat the content of another, 1 of these contents are in both train and test" in str(summary)
    first, second = (json.loads(line) for line in (tmp_path / "store/duplicates.jsonl").read_text().splitlines())
    assert first["both_sides"]
    assert not second["both_sides"]
    assert first["videos"] == [{"path": name, "split": splits[name]} for name in ("a.mp4", "b.mp4", "c.mp4")]
    assert [video["path"] for video in second["videos"]] == ["d.mp4", "other.mp4"]


def test_mostly_failing_run_stops_and_resumes_with_a_higher_limit(tmp_path: Path) -> None:
    videos, store = write_videos(tmp_path / "videos", "good.mp4", frames=3), tmp_path / "store"
    for n in range(99):
        (videos / f"{n:02d}.mp4").write_bytes(b"no video %d" % n)
    prepare = PrepareConfig(short_side=32, videos_per_shard=5)
    with pytest.raises(
        UserError, match=r"videos failed \(100 %\), prepare.max_failure_rate allows 50 %: 00.mp4: not a v"
    ):
        run(videos, store, CONFIG.model_copy(update={"prepare": prepare}))
    assert 20 <= len(failures(store)) < 99
    tolerant = CONFIG.model_copy(update={"prepare": prepare.model_copy(update={"max_failure_rate": 1.0})})
    summary = run(videos, store, tolerant)
    assert (summary.rows, summary.failures, summary.inputs) == (1, 99, 100)
    assert summary.processed < 100
    assert len(failures(store)) == 99


def test_failure_limit_does_not_apply_to_few_videos(tmp_path: Path) -> None:
    videos = write_videos(tmp_path / "videos", "good.mp4", frames=3)
    for n in range(9):
        (videos / f"{n}.mp4").write_bytes(b"no video %d" % n)
    assert run(videos, tmp_path / "store") == PrepareSummary(rows=1, failures=9, inputs=10, processed=10, unlabelled=1)


def test_summary_counts_truncated_videos() -> None:
    assert f"3 are cut at the time limit (see {TRUNCATED_FILE})" in str(PrepareSummary(5, 0, 5, 5, truncated=3))
    assert TRUNCATED_FILE not in str(PrepareSummary(5, 0, 5, 5))
