"""Indexing with real Ray: every input gives a row or a failure, and no video is processed twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.pipelines.prepared import RAY, contents, failures, killed_while_writing, parts, write_videos
from tests.s3 import s3_server
from tests.search.made import untrained
from vicc_ray.cli.main import main
from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.export.pretrained import load_encoder
from vicc_ray.models.weights_io import write_weights
from vicc_ray.pipelines.search_index import IndexSummary, index_videos
from vicc_ray.search.reader import SearchIndex
from vicc_ray.search.video_folder import VideoFolder
from vicc_ray.utils.fs import folder_lock
from vicc_ray.video.clip_sampling import windows
from vicc_ray.video.decode import decode_video

CONFIG = Config.model_validate({"evaluate": {"max_windows_per_video": 4}, "ray": RAY.model_dump()})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_weights(tmp_path / "model.safetensors", untrained())
    return tmp_path / "model.safetensors"


def index(videos: Path | str, folder: Path, model: Path | None, config: Config = CONFIG) -> IndexSummary:
    return index_videos(videos, folder, model, config, progress=False)


def ids(folder: Path) -> list[str]:
    opened = SearchIndex(folder)
    return sorted(opened.video(row).id for row in range(len(opened)))


def mean_of(folder: Path, id: str) -> np.ndarray:
    """Mean feature of a video in the index."""
    opened = SearchIndex(folder)
    row = opened.row_of(id)
    assert row is not None
    (windows,) = opened.windows([row])
    return np.asarray(windows.features.mean(axis=0))


def test_every_input_gives_a_row_with_features_or_a_failure(tmp_path: Path, model: Path) -> None:
    videos = write_videos(tmp_path / "videos", "walk/1.mp4", "walk/2.mp4", "run/3.mp4", frames=12)
    (videos / "walk/empty.mp4").write_bytes(b"")
    (videos / "text.mp4").write_text("not a video")
    summary = index(videos, tmp_path / "index", model)
    assert summary == IndexSummary(rows=3, failures=2, inputs=5, processed=5)
    assert str(summary) == "5 videos: 3 in the index, 2 failed (see failures.jsonl)"
    assert failures(tmp_path / "index")["walk/empty.mp4"] == "empty file"
    opened = SearchIndex(tmp_path / "index")
    encoder = load_encoder(model)
    for row in range(3):
        video = opened.video(row)
        assert (video.label, video.seconds) == (video.id.split("/")[0], 12 / 25)
        frames = decode_video(videos / video.id, short_side=32, max_frames=99, timeout_s=60, grid=2).frames
        clips = frames[windows(12, 4, 1, 0.5, 4)][..., 8:40, :]
        import torch

        expected = encoder(torch.from_numpy(clips)).numpy()
        (indexed,) = opened.windows([row])
        cosines = (indexed.features * expected).sum(1) / np.linalg.norm(indexed.features, axis=1)
        assert (
            cosines / np.linalg.norm(expected, axis=1)
        ).min() > 0.99  # frames are scaled once here, twice in the index


def test_new_and_repaired_videos_are_added_and_no_video_is_processed_twice(tmp_path: Path, model: Path) -> None:
    videos, folder = write_videos(tmp_path / "videos", "1.mp4", "3.mp4"), tmp_path / "index"
    (videos / "2.mp4").write_bytes(b"")
    index(videos, folder, model)
    before = parts(folder)
    write_videos(videos, "0.mp4", "2.mp4", first=2)
    (videos / "3.mp4").unlink()
    summary = index(videos, folder, None)
    assert summary == IndexSummary(rows=4, failures=0, inputs=4, processed=2, replaced=1, gone=1)
    assert "1 are not in the folder any more and stay in the index" in str(summary)
    assert {name: parts(folder)[name] for name in before} == before
    assert ids(folder) == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]
    done = contents(folder)
    assert index(videos, folder, model).processed == 0
    assert contents(folder) == done


def test_replaced_file_is_reindexed_and_its_old_row_is_removed(tmp_path: Path, model: Path) -> None:
    videos, folder = write_videos(tmp_path / "videos", *(f"{n}.mp4" for n in range(4))), tmp_path / "index"
    index(videos, folder, model)
    before, mean = parts(folder), mean_of(folder, "2.mp4")
    write_videos(videos, "2.mp4", first=7)
    (videos / "3.mp4").write_bytes(b"no video any more")
    summary = index(videos, folder, None)
    assert summary == IndexSummary(rows=3, failures=1, inputs=4, processed=2, replaced=2)
    assert "the file of 2 had been replaced" in str(summary)
    assert {name: parts(folder)[name] for name in before} == before
    assert (ids(folder), list(failures(folder))) == (["0.mp4", "1.mp4", "2.mp4"], ["3.mp4"])
    assert not np.array_equal(mean_of(folder, "2.mp4"), mean)
    fresh = index(videos, tmp_path / "fresh", model)
    assert (fresh.rows, fresh.failures) == (3, 1)
    assert np.array_equal(mean_of(folder, "2.mp4"), mean_of(tmp_path / "fresh", "2.mp4"))
    assert index(videos, folder, None) == IndexSummary(rows=3, failures=1, inputs=4)


def test_file_replaced_before_its_part_is_written_is_processed_once(tmp_path: Path, model: Path) -> None:
    videos, folder = write_videos(tmp_path / "videos", "1.mp4", "2.mp4"), tmp_path / "index"
    index(videos, folder, model)
    (folder / "part-00001.parquet").unlink()  # as after a kill
    write_videos(videos, "2.mp4", first=7)
    assert index(videos, folder, None) == IndexSummary(rows=2, failures=0, inputs=2, processed=1)
    assert index(videos, folder, None).processed == 0


def test_index_without_file_stamps_accepts_the_current_files(tmp_path: Path, model: Path) -> None:
    videos, folder = write_videos(tmp_path / "videos", "1.mp4", "2.mp4"), tmp_path / "index"
    index(videos, folder, model)
    plan = json.loads((folder / "plan.json").read_text())
    for video in (video for shard in plan["shards"] for video in shard):
        del video["file"]
    (folder / "plan.json").write_text(json.dumps(plan))
    assert index(videos, folder, None).processed == 0
    write_videos(videos, "2.mp4", first=7)
    assert index(videos, folder, None) == IndexSummary(rows=2, failures=0, inputs=2, processed=1, replaced=1)


def test_another_network_or_other_settings_are_refused(tmp_path: Path, model: Path) -> None:
    videos, folder = write_videos(tmp_path / "videos", "1.mp4"), tmp_path / "index"
    with pytest.raises(UserError, match="--model"):
        index(videos, folder, None)
    index(videos, folder, model)
    done = contents(folder)
    write_weights(tmp_path / "other.safetensors", untrained(seed=1))
    with pytest.raises(UserError, match=r"\w+ \(tiny\).*--model.* \w+ \(tiny\)"):
        index(videos, folder, tmp_path / "other.safetensors")
    other = CONFIG.model_copy(update={"evaluate": CONFIG.evaluate.model_copy(update={"max_windows_per_video": 5})})
    with pytest.raises(UserError, match="evaluate.max_windows_per_video was 4 and is 5 now"):
        index(videos, folder, model, other)
    (videos / "labels.csv").write_text("path,label\n1.mp4,walk\n")
    with pytest.raises(UserError, match=r"1\.mp4: '' -> 'walk'"):
        index(videos, folder, model)
    (videos / "labels.csv").unlink()
    with folder_lock(folder), pytest.raises(UserError, match="being written by another `vicc-ray index`"):
        index(videos, folder, model)
    assert contents(folder) == done


def test_damaged_part_is_named_and_rebuilt_after_its_removal(tmp_path: Path, model: Path) -> None:
    videos, folder = write_videos(tmp_path / "videos", "1.mp4", "2.mp4"), tmp_path / "index"
    index(videos, folder, model)
    good = parts(folder)
    part = folder / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(UserError, match=r"part-00001.parquet is damaged .*; remove that file"):
        index(videos, folder, model)
    part.unlink()
    assert index(videos, folder, model) == IndexSummary(rows=2, failures=0, inputs=2, processed=1)
    assert parts(folder)["part-00000.parquet"] == good["part-00000.parquet"]


def test_index_of_a_bucket_holds_no_secrets(tmp_path: Path, model: Path) -> None:
    videos = write_videos(tmp_path / "videos", "a/1.mp4", "a/2.mp4")
    with s3_server() as s3:
        s3.put_folder(videos, "clips")
        assert index(s3.address("clips"), tmp_path / "index", model).rows == 2
        s3.put("clips/a/2.mp4", (videos / "a/1.mp4").read_bytes())
        again = index(s3.address("clips"), tmp_path / "index", model)
        assert again == IndexSummary(rows=2, failures=0, inputs=2, processed=1, replaced=1)
    text = "".join(path.read_text() for path in (tmp_path / "index").glob("*.json"))
    assert "videos-of-the-test/clips" in text
    assert "secret" not in text
    opened = SearchIndex(tmp_path / "index")
    assert (opened.videos.folders, opened.unconfirmed_videos) == ((), "")
    assert SearchIndex(tmp_path / "index", VideoFolder(videos)).has_video(0)  # although the copy has another mtime


KILLED = """
import sys
from pathlib import Path
from tests.search.made import CONFIG, SPEC, untrained
from vicc_ray.pipelines.inference.index_shard import indexing_spec
from vicc_ray.pipelines.inference.model_actor import ModelActor
from vicc_ray.sharding.plan import ShardPlan
from vicc_ray.datasets import list_videos
folder, videos = Path(sys.argv[1]), Path(sys.argv[2])
index_shard = ModelActor(indexing_spec(folder, videos, untrained(), SPEC, CONFIG, use_gpu=False))
locations = {item.id: item.location for item in list_videos(videos).items}
for part, shard in enumerate(ShardPlan.read(folder).shards):
    index_shard(part, [(locations[video.id], video) for video in shard])
"""


def test_killed_run_leaves_no_partial_parts_and_resumes(tmp_path: Path, model: Path) -> None:
    videos, folder = write_videos(tmp_path / "videos", *(f"{n}.mp4" for n in range(8)), frames=60), tmp_path / "index"
    summary = index(videos, tmp_path / "undisturbed", model)
    folder.mkdir()
    for name in ("index.json", "encoder.safetensors", "plan.json"):
        (folder / name).write_bytes((tmp_path / "undisturbed" / name).read_bytes())
    killed = subprocess.Popen([sys.executable, "-c", KILLED, str(folder), str(videos)])
    deadline = time.monotonic() + 600
    while not parts(folder) and time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            killed.wait(timeout=0.01)
            break
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    with pytest.raises(UserError, match="is not finished"):
        SearchIndex(folder)
    (folder / ".part-00007.parquet.left.part").write_bytes(b"of a writer that died")
    before = parts(folder)
    assert 1 <= len(before) < 8
    again = index(videos, folder, model)
    assert (again.rows, again.processed) == (summary.rows, 8 - len(before))
    assert {name: parts(folder)[name] for name in before} == before
    assert contents(folder) == contents(tmp_path / "undisturbed")
    assert not list(folder.glob(".part-*"))


def test_temporary_files_of_a_killed_run_are_removed_and_other_files_kept(tmp_path: Path, model: Path) -> None:
    videos, folder = write_videos(tmp_path / "videos", "1.mp4"), tmp_path / "index"
    index(videos, folder, model)
    partials = [killed_while_writing(folder / name) for name in ("videos.arrow", "index.json", "encoder.safetensors")]
    others = [killed_while_writing(folder / name) for name in ("results.html", "videos.arrow.txt")]
    with folder_lock(folder), pytest.raises(UserError, match="being written by another"):
        index(videos, folder, model)
    assert all(path.exists() for path in partials)
    index(videos, folder, model)
    assert not any(path.exists() for path in partials)
    assert all(path.exists() for path in others)


def test_index_and_search_commands(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = write_videos(tmp_path / "videos", *(f"{label}/{n}.mp4" for label in "ab" for n in range(2)))
    command = ["index", str(videos), "--model", str(model), "--index", str(tmp_path / "index"), "--quiet"]
    assert main([*command, "--set", "train.global_batch_size=3"]) == 2
    assert "train.global_batch_size" in capsys.readouterr().err
    assert main(command) == 0
    assert "4 videos: 4 in the index, 0 failed" in capsys.readouterr().out
    videos.rename(tmp_path / "moved")
    assert main(["search", str(tmp_path / "index"), str(tmp_path / "moved/b/1.mp4"), "--top-k", "2"]) == 0
    first, second, half, note = capsys.readouterr().out.splitlines()
    assert first.split() == ["1", "1.000", "0:00-0:01", "b", "b/1.mp4"]
    assert second.split()[0] == "2"
    assert "all 4 videos" in half
    assert note.startswith("2 of these 2 videos")
    assert json.loads((tmp_path / "index/index.json").read_text())["fingerprint"] == untrained().fingerprint
