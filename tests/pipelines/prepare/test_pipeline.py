from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray

from tests.pipelines.prepared import CONFIG, RAY, contents, failures, killed_while_writing, parts, run, write_videos
from tests.videos import moving, write_audio, write_video
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.clip_store.schema import shard_path
from vicc_ray.config import Config, PrepareConfig
from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster.session import ray_session
from vicc_ray.pipelines.prepare.pipeline import PrepareSummary
from vicc_ray.utils.fs import folder_lock
from vicc_ray.video.decode import decode_video
from vicc_ray.video.flow import compute_flow, dequantize, resize_flow


def test_stored_video_equals_the_decoded_one_with_its_flow(tmp_path: Path) -> None:
    videos = write_videos(tmp_path / "videos", "walk/1.mp4", "walk/2.mp4", "run/3.mp4")
    assert run(videos, tmp_path / "store") == PrepareSummary(rows=3, failures=0, inputs=3, processed=3)
    store = ClipStore(tmp_path / "store")
    assert [(e.id, e.label) for e in store.entries] == [
        ("run/3.mp4", "run"),
        ("walk/1.mp4", "walk"),
        ("walk/2.mp4", "walk"),
    ]
    noise_db = []
    for entry in store.entries:
        video = decode_video(videos / entry.id, short_side=32, max_frames=1000, timeout_s=60, grid=2)
        stored = store.read(entry)
        assert (entry.frames, entry.height, entry.width, entry.fps) == (6, 32, 48, 25.0)
        rgb = stored.rgb(np.arange(6))
        noise_db.append(10 * np.log10(255**2 / np.mean((rgb.astype(float) - video.frames) ** 2)))
        flow = dequantize(stored.flow(np.arange(6)), store.settings.flow_bound)
        expected = np.stack([resize_flow(field, (16, 24), (32, 48)) for field in compute_flow(video.frames, "dis")])
        assert flow.shape == (6, 16, 24, 2)
        assert np.linalg.norm(flow - expected, axis=-1).mean() < 0.15
        assert np.array_equal(stored.rgb([4, 1]), rgb[[4, 1]])
    assert np.mean(noise_db) > 35 and min(noise_db) > 33  # videos of noise, the worst case for compression


def test_every_input_gives_a_row_or_a_failure_with_its_reason(tmp_path: Path) -> None:
    videos = write_videos(tmp_path / "videos", "a/good.mp4", "a/other.mp4")
    (videos / "a/empty.mp4").write_bytes(b"")
    (videos / "a/text.mp4").write_text("not a video at all\n" * 20)
    whole = (videos / "a/good.mp4").read_bytes()
    (videos / "b").mkdir()
    (videos / "b/truncated.mp4").write_bytes(whole[: len(whole) // 2])
    write_audio(videos / "b/sound.mp4")
    write_video(videos / "b/still.mp4", moving(1, 32, 48))
    write_video(videos / "b/strip.mp4", moving(3, 32, 640))
    summary = run(videos, tmp_path / "store")
    assert summary == PrepareSummary(rows=2, failures=6, inputs=8, processed=8)
    assert "8 videos: 2 in the clip store, 6 failed (see failures.jsonl)" in str(summary)
    assert [e.id for e in ClipStore(tmp_path / "store").entries] == ["a/good.mp4", "a/other.mp4"]
    reasons = failures(tmp_path / "store")
    assert reasons.pop("b/truncated.mp4").startswith("not a video, or damaged from the start")
    assert reasons.pop("a/text.mp4").startswith("not a video")
    assert reasons == {
        "a/empty.mp4": "empty file",
        "b/sound.mp4": "no video stream (audio only)",
        "b/still.mp4": "one frame only; motion needs two",
        "b/strip.mp4": "frames of 640 x 32 have an aspect ratio above 16:1",
    }


def test_label_file_sets_sources_and_splits_and_reports_missing_files(tmp_path: Path) -> None:
    videos = write_videos(tmp_path / "videos", "1.mp4", "2.mp4", "unlisted.mp4")
    (videos / "labels.csv").write_text("path,label,source,split\n1.mp4,a,s,train\n2.mp4,b,,test\ngone.mp4,b,,test\n")
    summary = run(videos, tmp_path / "store")
    assert summary == PrepareSummary(rows=2, failures=1, inputs=3, processed=3, unlisted=1)
    entries = ClipStore(tmp_path / "store").entries
    assert [(e.label, e.source, e.split) for e in entries] == [("a", "s", "train"), ("b", "2.mp4", "test")]
    assert failures(tmp_path / "store") == {"gone.mp4": "no such file"}


def test_without_labels_all_videos_are_training_videos(tmp_path: Path) -> None:
    videos = write_videos(
        tmp_path / "videos", *(f"{day}/{n}.mp4" for day in ("monday", "tuesday") for n in range(4)), frames=2
    )
    summary = run(videos, tmp_path / "store", labels="none")
    entries = ClipStore(tmp_path / "store").entries
    assert {(entry.label, entry.split) for entry in entries} == {("", "train")}
    assert summary.unlabelled == 8
    assert "test_fraction" not in str(summary)


def test_without_splits_a_fraction_of_the_sources_is_the_test_split(tmp_path: Path) -> None:
    videos = write_videos(tmp_path / "videos", *(f"{label}/{n}.mp4" for label in "ab" for n in range(4)), frames=2)
    run(videos, tmp_path / "store")
    entries = ClipStore(tmp_path / "store").entries
    assert sorted(e.label for e in entries if e.split == "test") == ["a", "b"]
    assert sum(e.split == "train" for e in entries) == 6
    run(videos, tmp_path / "again", CONFIG.model_copy(update={"seed": 7}))
    assert ClipStore(tmp_path / "again").entries == entries  # the split does not depend on the training seed


def test_new_and_repaired_videos_are_added_and_no_video_is_processed_twice(tmp_path: Path) -> None:
    videos, store = write_videos(tmp_path / "videos", "a/1.mp4", "a/3.mp4"), tmp_path / "store"
    (videos / "a/2.mp4").write_bytes(b"")
    (videos / "a/4.mp4").write_bytes(b"")
    run(videos, store)
    before, first = parts(store), ClipStore(store).entries
    write_videos(videos, "a/0.mp4", "a/2.mp4", first=2)
    assert run(videos, store) == PrepareSummary(rows=4, failures=1, inputs=5, processed=2)
    assert failures(store) == {"a/4.mp4": "empty file"}
    assert {name: parts(store)[name] for name in before} == before
    entries = ClipStore(store).entries
    assert [e.id for e in entries] == ["a/0.mp4", "a/1.mp4", "a/2.mp4", "a/3.mp4"]
    assert [e for e in entries if e.id in ("a/1.mp4", "a/3.mp4")] == list(first)
    done = contents(store)
    assert run(videos, store) == PrepareSummary(rows=4, failures=1, inputs=5, processed=0)
    assert contents(store) == done


def test_moved_video_folder_is_the_same_input(tmp_path: Path) -> None:
    videos = write_videos(tmp_path / "videos", "a/1.mp4", "a/2.mp4")
    run(videos, tmp_path / "store")
    shard_path(tmp_path / "store", 1).unlink()
    assert run(videos.rename(tmp_path / "moved"), tmp_path / "store") == PrepareSummary(2, 0, 2, processed=1)


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("prepare", PrepareConfig(short_side=40), "prepare.short_side was 32 and is 40 now"),
        ("prepare", PrepareConfig(short_side=32, flow_method="tvl1"), "prepare.flow_method was dis and is tvl1 now"),
        ("prepare", PrepareConfig(short_side=32, split_fold=2), "prepare.split_fold was 1 and is 2 now"),
        (
            "prepare",
            PrepareConfig(short_side=32, test_fraction=0.5),
            "prepare.test_fraction 0.25.*prepare.test_fraction 0.5",
        ),
    ],
)
def test_changed_settings_are_refused(tmp_path: Path, section: str, change: object, message: str) -> None:
    videos = write_videos(tmp_path / "videos", "a/1.mp4")
    run(videos, tmp_path / "store")
    done = contents(tmp_path / "store")
    with pytest.raises(UserError, match=message):
        run(videos, tmp_path / "store", CONFIG.model_copy(update={section: change}))
    assert contents(tmp_path / "store") == done


def test_changed_inputs_are_refused(tmp_path: Path) -> None:
    videos = write_videos(tmp_path / "videos", "1.mp4", "2.mp4")
    (videos / "labels.csv").write_text("path,label,split\n1.mp4,a,train\n2.mp4,b,test\n")
    run(videos, tmp_path / "store")
    (videos / "labels.csv").write_text("path,label,split\n1.mp4,a,train\n2.mp4,c,test\n")
    with pytest.raises(UserError, match=r"label of 2.mp4 is 'b' .*'c'"):
        run(videos, tmp_path / "store")
    (videos / "labels.csv").write_text("path,label,split\n1.mp4,a,train\n")
    with pytest.raises(UserError, match=r"1 videos of the clip store .* 2.mp4"):
        run(videos, tmp_path / "store")


def test_replaced_file_is_refused_and_a_copy_is_accepted(tmp_path: Path) -> None:
    videos, store = write_videos(tmp_path / "videos", "a/1.mp4", "a/2.mp4"), tmp_path / "store"
    summary = run(videos, store)
    for file in videos.rglob("*.mp4"):
        os.utime(file, (1, 1))  # as in a copy without mtimes
    assert run(videos, store) == replace(summary, processed=0)
    done, one = contents(store), videos / "a/1.mp4"
    whole = one.read_bytes()
    for content in (whole[:-1] + bytes([whole[-1] ^ 1]), whole + b"0"):  # same size, other size
        one.write_bytes(content)
        with pytest.raises(UserError, match=r"1 video files .* a/1.mp4"):
            run(videos, store)
        assert contents(store) == done
    one.write_bytes(whole)
    assert run(videos, store) == replace(summary, processed=0)


def test_all_failed_is_an_error_after_failures_are_written(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for n in range(4):
        (videos / f"{n}.mp4").write_bytes(b"")
    with pytest.raises(UserError, match=r"none of the 4 videos .* 0.mp4: empty file; 1.mp4: .*; 2.mp4: empty file$"):
        run(videos, tmp_path / "store")
    assert len(failures(tmp_path / "store")) == 4


def test_unreadable_input_and_unwritable_output_are_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none"):
        run(tmp_path / "none", tmp_path / "store")
    videos = write_videos(tmp_path / "videos", "a/1.mp4")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        run(videos, tmp_path / "file" / "store")
    blocked = tmp_path / "blocked" / "part-00000.failures.jsonl"  # the task cannot move a file onto a folder
    (blocked / "in the way").mkdir(parents=True)
    with pytest.raises(UserError, match="cannot be written"):
        run(videos, tmp_path / "blocked")
    assert not shard_path(tmp_path / "blocked", 0).exists()


SCRIPT = """
import sys
from pathlib import Path
from vicc_ray.config import Config, PrepareConfig, RayConfig
from vicc_ray.pipelines.prepare.pipeline import prepare
config = Config(prepare=PrepareConfig(short_side=64, flow_method="tvl1"), ray=RayConfig(cpus=2, object_store_mb=150))
print(prepare(Path(sys.argv[1]), Path(sys.argv[2]), config))
"""
SLOW = Config(prepare=PrepareConfig(short_side=64, flow_method="tvl1"), ray=RAY)


def test_killed_run_resumes_without_repeating_shards(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    for n in range(8):
        write_video(videos / f"{n}.mp4", moving(4, 64, 64, (1, n % 3), n))
    (videos / "7.mp4").write_bytes(b"")
    store = tmp_path / "store"
    killed = subprocess.Popen([sys.executable, "-c", SCRIPT, str(videos), str(store)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 600
        while not parts(store) and time.monotonic() < deadline:
            with suppress(subprocess.TimeoutExpired):
                killed.wait(timeout=0.02)
                break
    finally:
        killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    with pytest.raises(UserError, match=r"\d+ of \d+ shards"):
        ClipStore(store)
    (store / ".part-00000.parquet.left.part").write_bytes(b"of a writer that died")
    for name in ("index.parquet", "store.json", "duplicates.jsonl", "failures.jsonl", "plan.json"):
        killed_while_writing(store / name)
    before = parts(store)
    assert 1 <= len(before) < 8
    summary = run(videos, store, SLOW)
    after = parts(store)
    # A worker of the killed run may have completed its shard after `before`; no shard was repeated.
    assert (summary.rows, summary.failures, summary.inputs) == (7, 1, 8)
    assert summary.processed <= 8 - len(before)
    assert {name: after[name] for name in before} == before
    run(videos, tmp_path / "undisturbed", SLOW)
    assert contents(store) == contents(tmp_path / "undisturbed")
    assert [path.name for path in store.glob(".*")] == [".lock"]


def test_store_is_locked_against_a_second_writer(tmp_path: Path) -> None:
    videos, store = write_videos(tmp_path / "videos", "1.mp4"), tmp_path / "store"
    store.mkdir()
    with folder_lock(store), pytest.raises(UserError, match="being written by another"):
        run(videos, store)
    assert run(videos, store).rows == 1


def test_nested_session_leaves_the_outer_one_running() -> None:
    with ray_session(RAY):
        assert ray.is_initialized()
    assert ray.is_initialized()
    assert os.environ["RAY_AUTH_MODE"] in ("token", "disabled")
