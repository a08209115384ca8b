"""Buckets and published datasets prepared into clip stores, with real Ray and a real S3 server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.listed import write_lists
from tests.pipelines.prepared import CONFIG, contents, failures, run, write_videos
from tests.s3 import BUCKET, s3_server
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import PrepareConfig
from vicc_ray.datasets import list_videos
from vicc_ray.pipelines.prepare.pipeline import PrepareSummary, prepare_inputs
from vicc_ray.sharding.plan import PLAN_FILE, ShardPlan


def test_bucket_and_folder_give_the_same_store(tmp_path: Path) -> None:
    videos = write_videos(tmp_path / "videos", "a/1.mp4", "b/2 %20?ü.mp4", "b/3.mp4", "unlisted.mp4")
    (videos / "b/broken.mp4").write_bytes(b"no video")
    rows = "a/1.mp4,a,train\nb/2 %20?ü.mp4,b,test\nb/3.mp4,b,train\nb/broken.mp4,b,train\ngone.mp4,a,test\n"
    labels = write_lists(tmp_path, {"labels.csv": f"path,label,split\n{rows}"}) / "labels.csv"
    with s3_server() as s3:
        s3.put_folder(videos, "in")
        s3.put("lists/labels.csv", labels.read_bytes())
        summary = run(s3.address("in"), tmp_path / "store", labels=s3.address("lists/labels.csv"))
    assert summary == PrepareSummary(rows=3, failures=2, inputs=5, processed=5, unlisted=1)
    assert all(column in str(summary) for column in ("path", "label", "split", "3 train", "2 test"))
    assert run(videos, tmp_path / "here", labels=labels) == summary
    there, here = contents(tmp_path / "store"), contents(tmp_path / "here")
    with_times = [
        name for name in here if name == PLAN_FILE or name.endswith(".failures.jsonl")
    ]  # hold the inputs' mtimes
    same = set(here) - set(with_times)
    assert {name: there[name] for name in same} == {name: here[name] for name in same}
    plans = [ShardPlan.read(tmp_path / name).latest() for name in ("store", "here")]
    shards = [{id: (shard, replace(video, file=None)) for id, (shard, video) in plan.items()} for plan in plans]
    assert shards[0] == shards[1]
    assert failures(tmp_path / "store")["gone.mp4"] == "no such file"


def test_video_that_could_not_be_fetched_is_retried_although_unchanged(tmp_path: Path) -> None:
    videos, store = write_videos(tmp_path / "videos", "1.mp4", "2.mp4"), tmp_path / "store"
    with s3_server() as s3:
        s3.put_folder(videos, "in")
        inputs = list_videos(s3.address("in"))
        s3.client.delete_object(Bucket=BUCKET, Key="in/2.mp4")
        assert prepare_inputs(inputs, store, CONFIG, progress=False) == PrepareSummary(
            1, 1, 2, processed=2, unlabelled=1
        )
        assert failures(store) == {"2.mp4": "no such file"}
        s3.put_folder(videos, "in")
        assert prepare_inputs(inputs, store, CONFIG, progress=False) == PrepareSummary(
            2, 0, 2, processed=1, unlabelled=2
        )
        assert run(s3.address("in"), store) == PrepareSummary(2, 0, 2, processed=0, unlabelled=2)


DATA_SETS: list[tuple[dict[str, str], dict[str, tuple[str, str, str]], str]] = [
    (
        {
            "trainlist02.txt": "Run/v_Run_g08_c01.avi 1\n",
            "testlist02.txt": "Run/v_Run_g01_c01.avi\nRun/v_Run_g01_c02.avi\n",
        },
        {"Run/v_Run_g01_c01.avi": ("Run", "Run_g01", "test"), "Run/v_Run_g08_c01.avi": ("Run", "Run_g08", "train")},
        "Run/v_Run_g01_c02.avi",
    ),
    (
        {
            "ride_bike_test_split2.txt": "A_ride_bike_f_cm_np1_ri_med_0.avi 1 \n"
            "B_ride_bike_f_cm_np1_ri_med_0.avi 0 \ngone.avi 2 \n"
        },
        {
            "ride_bike/A_ride_bike_f_cm_np1_ri_med_0.avi": ("ride_bike", "A", "train"),
            "ride_bike/B_ride_bike_f_cm_np1_ri_med_0.avi": ("ride_bike", "B", ""),
        },
        "ride_bike/gone.avi",
    ),
    (
        {
            "train.csv": "label,youtube_id,time_start,time_end,split\n"
            "high jump,-aaaaaaaaa_,3,13,train\nhigh jump,gone,1,11,train\n",
            "val.csv": "label,youtube_id,time_start,time_end,split\nhigh jump,bbbbbbbbbbb,120,130,val\n",
        },
        {
            "high jump/-aaaaaaaaa__000003_000013.mp4": ("high jump", "-aaaaaaaaa_", "train"),
            "high jump/bbbbbbbbbbb_000120_000130.mp4": ("high jump", "bbbbbbbbbbb", "test"),
        },
        "high jump/gone_000001_000011.mp4",
    ),
]


@pytest.mark.parametrize(("lists", "known", "missing"), DATA_SETS, ids=["ucf101", "hmdb51", "kinetics"])
def test_published_dataset_is_prepared_from_its_split_lists(
    tmp_path: Path, lists: dict[str, str], known: dict[str, tuple[str, str, str]], missing: str
) -> None:
    videos = write_videos(tmp_path / "videos", *(f"inside/{id}" for id in known), "more.mp4", frames=2)
    config = CONFIG.model_copy(update={"prepare": PrepareConfig(short_side=32, split_fold=2)})
    summary = run(videos, tmp_path / "store", config, write_lists(tmp_path / "lists", lists))
    assert summary == PrepareSummary(rows=2, failures=1, inputs=3, processed=3, unlisted=1)
    assert {e.id: (e.label, e.source, e.split) for e in ClipStore(tmp_path / "store").entries} == known
    assert failures(tmp_path / "store") == {missing: "no such file"}
