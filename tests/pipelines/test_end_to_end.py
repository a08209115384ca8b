"""End-to-end job: impossible settings and inputs are refused before any video is decoded."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.pipelines.prepared import CONFIG, contents, parts, run, write_videos
from tests.stored import store_of, video
from vicc_ray.config.loader import load_config
from vicc_ray.datasets import list_videos
from vicc_ray.errors import UserError
from vicc_ray.pipelines.end_to_end import check_no_new_videos, run_end_to_end
from vicc_ray.pipelines.prepare.pipeline import prepare_inputs
from vicc_ray.runs.checkpoint_state import FORMAT, STATE
from vicc_ray.sharding.plan import Failure, make_plan, stamp, write_failures
from vicc_ray.utils.fs import content_digest


def test_batch_larger_than_the_training_set_is_refused_before_preparation(tmp_path: Path) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    for label in ("rise", "fall"):
        (videos / label).mkdir(parents=True)
        for n in range(10):
            (videos / label / f"{n}.mp4").write_bytes(b"never decoded")
    config = load_config("demo", ["train.global_batch_size=17", "prepare.test_fraction=0.2"])
    with pytest.raises(UserError) as error:
        run_end_to_end(config, videos, out, progress=False)
    assert "train.global_batch_size" in str(error.value) and "17" in str(error.value) and "16" in str(error.value)
    assert not out.exists()


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output of a stopped job: a store of two videos, a third that crashed its decoder, and a checkpoint."""
    folder = tmp_path_factory.mktemp("job")
    run(labelled(folder / "videos", FIRST), folder / "out" / "store")
    crashed = {"c.mp4": Failure("ended the decoding process 2 times", None)}
    write_failures(folder / "out" / "store", FIRST.index("c.mp4"), crashed)
    checkpoint = folder / "out" / "run" / "checkpoints" / "step-00000003"
    checkpoint.mkdir(parents=True)
    (checkpoint / STATE).write_text(json.dumps({"format": FORMAT, "step": 3}))
    return folder / "out"


FIRST = ["a.mp4", "b.mp4", "c.mp4"]


def labelled(videos: Path, train: list[str], test: tuple[str, ...] = ()) -> Path:
    """Write a folder of videos with a manifest; ``c.mp4`` is not a video."""
    write_videos(videos, *(name for name in (*train, *test) if name != "c.mp4" and not (videos / name).exists()))
    (videos / "c.mp4").write_bytes(b"none")
    rows = [*(f"{name},train" for name in train), *(f"{name},test" for name in test)]
    (videos / "labels.csv").write_text("\n".join(["path,split", *rows]))
    return videos


def test_new_training_videos_are_refused_before_they_enter_the_store_of_a_run(out: Path) -> None:
    videos, store = labelled(out.parent / "videos", [*FIRST, "d.mp4", "e.mp4"]), out / "store"
    before = contents(store)
    with pytest.raises(UserError) as error:
        run_end_to_end(CONFIG, videos, out, progress=False)
    named = [
        "2 videos",
        "d.mp4",
        str(out / "run"),
        "--out",
        f"--store {store}",
        "--init-from",
        str(out / "run" / "checkpoints"),
    ]
    assert all(words in str(error.value) for words in named)
    assert contents(store) == before


def test_new_test_videos_and_crashed_videos_do_not_prevent_resuming(out: Path) -> None:
    """A crashed video is not retried then: a success would add a training video."""
    videos, newest = labelled(out.parent / "videos", FIRST, test=("f.mp4",)), out / "run/checkpoints/step-00000003"
    inputs = list_videos(videos)
    check_no_new_videos(inputs, out / "store", CONFIG, newest)
    before = parts(out / "store")
    assert prepare_inputs(inputs, out / "store", CONFIG, progress=False, retry=False).processed == 1
    assert {name: parts(out / "store")[name] for name in before} == before
    assert prepare_inputs(inputs, out / "store", CONFIG, progress=False).processed == 1


def test_run_resumes_after_its_videos_were_copied_although_one_is_broken(tmp_path: Path) -> None:
    """New mtimes make the broken video look repaired; the run resumes without it."""
    videos, store = tmp_path / "videos", tmp_path / "store"
    videos.mkdir()
    for name in FIRST:
        (videos / name).write_bytes(f"never decoded: {name}".encode())
    (videos / "labels.csv").write_text("\n".join(["path,split", *(f"{name},train" for name in FIRST)]))
    inputs = list_videos(videos)
    rows = [video(n, id=name, content=content_digest(videos / name)) for n, name in enumerate(FIRST[:2])]
    store_of(store, rows, shards=3, settings=CONFIG.prepare)
    make_plan(store, inputs.items, CONFIG.prepare, CONFIG.prepare.test_fraction).write(store)
    broken = Failure("not a video", stamp(videos / "c.mp4", CONFIG.prepare))
    for shard, failed in enumerate(({}, {}, {"c.mp4": broken})):
        write_failures(store, shard, failed)
    for name in FIRST:
        os.utime(videos / name, (1, 1))
    check_no_new_videos(inputs, store, CONFIG, tmp_path / "run/checkpoints/step-00000003")
    assert prepare_inputs(inputs, store, CONFIG, progress=False, retry=False).processed == 0
    tried_again = make_plan(store, inputs.items, CONFIG.prepare, CONFIG.prepare.test_fraction).shards[3:]
    assert [[plan_videos.id for plan_videos in shard] for shard in tried_again] == [["c.mp4"]]
