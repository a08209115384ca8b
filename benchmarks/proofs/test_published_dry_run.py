"""Published run at a hundredth of its size: a real run of the recipe over four workers follows the published schedule.

Batches are a twelfth and epochs a 25th of the published ones, and 203 generated videos replace the 9,537 of
UCF101: 688 steps instead of 69,000. The network and its clips are small; all other settings are those of the recipe.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from vicc_ray.config import Config
from vicc_ray.config.loader import load_config
from vicc_ray.pipelines.prepare.pipeline import prepare
from vicc_ray.pipelines.train.pretrain import pretrain
from vicc_ray.utils.jsonl import read_lines
from vicc_ray.video.synthetic.generate import Scene, make_videos

RECIPE = "ucf101-s3d"
BATCHES, EPOCHS = 12, 25
"""Divisors of the published batches and queue, and of the published epochs."""
VIDEOS = 203
CLASSES = 7
SCALED = {
    **{"train.global_batch_size": BATCHES, "stage2.global_batch_size": BATCHES, "method.queue_size": BATCHES},
    **dict.fromkeys(("schedule.rgb_epochs", "schedule.flow_epochs", "schedule.stage1_cosine_epochs"), EPOCHS),
    **dict.fromkeys(("schedule.epochs_per_phase", "schedule.stage2_cosine_epochs"), EPOCHS),
    **dict.fromkeys(("method.queue_start_epoch", "method.rgb_queue_start_epoch"), EPOCHS),
    "method.freeze_prototypes_epochs": EPOCHS,
    **dict.fromkeys(("stage2.queue_start_epoch", "stage2.freeze_prototypes_epochs"), EPOCHS),
}
SMALL = [
    *("prepare.short_side=32", "prepare.flow_method=dis", "prepare.flow_downscale=1", "prepare.videos_per_shard=32"),
    *("model.backbone=tiny", "model.embed_dim=16", "method.num_prototypes=8", "clip.frames=8", "clip.size=32"),
    *("train.cpus_per_worker=0.25", "train.validate_every_epochs=0", "train.log_sample_ids=true", "train.trackers=[]"),
    *("ray.cpus=2", "ray.object_store_mb=150"),
]
WORKERS = 4
STAGE_1 = {"batch": 192, "steps": 49, "epochs": 300, "cosine": 500, "thaw": 100, "queue": 200}
STAGE_2 = {"batch": 96, "steps": 99, "epochs": 100, "cosine": 100, "thaw": 0, "queue": 25}
"""Published: global batch, steps an epoch, epochs of a phase, of its cosine, until the prototypes are trained and until
the queue starts."""
QUEUE, HIGH_RATE, LOW_RATE = 1920, 0.6, 0.0006
PHASES = {
    "rgb-stage1": {**STAGE_1, "queue": 150},
    "flow-stage1": STAGE_1,
    **{f"{stream}-stage2-{cycle}": STAGE_2 for cycle in (1, 2) for stream in ("rgb", "flow")},
}


def dry_run() -> Config:
    """Recipe at a hundredth of its size."""
    recipe = load_config(RECIPE)
    overrides = []
    for key, divisor in SCALED.items():
        section, name = key.split(".")
        value = getattr(getattr(recipe, section), name)
        assert value % divisor == 0, f"{key}: {value}"
        overrides.append(f"{key}={value // divisor}")
    return load_config(RECIPE, overrides + SMALL)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished dry run."""
    folder = tmp_path_factory.mktemp("dry")
    config = dry_run()
    make_videos(folder / "videos", CLASSES, train=VIDEOS // CLASSES, test=1, scene=Scene(side=32, frames=12))
    prepare(folder / "videos", folder / "store", config, progress=False)
    pretrain(config, folder / "store", folder / "run", progress=False)
    return folder / "run"


@pytest.fixture(scope="module")
def phases(run: Path) -> dict[str, list[dict[str, Any]]]:
    """Steps of each phase, in order."""
    lines = read_lines(run / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return {name: list(steps) for name, steps in groupby(lines, key=lambda line: line["phase"])}


def epochs_of(steps: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    return (list(lines) for _, lines in groupby(steps, key=lambda line: line["epoch"]))


def test_phases_stop_at_their_epochs_with_the_batch_of_their_stage(phases: dict[str, list[dict[str, Any]]]) -> None:
    assert list(phases) == list(PHASES)
    for name, steps in phases.items():
        published = PHASES[name]
        batch = published["batch"] // BATCHES
        assert {line["samples"] for line in steps} == {batch}
        assert {line["workers"] for line in steps} == {WORKERS}
        assert [len(epoch) for epoch in epochs_of(steps)] == [VIDEOS // batch] * (published["epochs"] // EPOCHS)


def test_epochs_are_whole_steps_of_different_videos(run: Path, phases: dict[str, list[dict[str, Any]]]) -> None:
    taken = {line["step"]: line["videos"] for line in read_lines(run / "samples.jsonl")}
    for steps in phases.values():
        for epoch in epochs_of(steps):
            videos = [video for line in epoch for video in taken[line["step"]]]
            assert len(set(videos)) == len(videos) == VIDEOS // epoch[0]["samples"] * epoch[0]["samples"]


def test_queue_and_prototypes_start_at_their_epochs(phases: dict[str, list[dict[str, Any]]]) -> None:
    """The queue fills from the first step of its epoch on; each line counts it before its own step."""
    for name, steps in phases.items():
        published = PHASES[name]
        batch, size = published["batch"] // BATCHES, QUEUE // BATCHES
        first = published["queue"] // EPOCHS * (VIDEOS // batch)
        expected = [min(size, max(0, n - first) * batch) for n in range(len(steps))]
        assert [line["queue_count"] for line in steps] == expected
        assert max(expected) == size
        thaw = published["thaw"] // EPOCHS * (VIDEOS // batch)
        assert [line["prototypes_frozen"] for line in steps] == [float(n < thaw) for n in range(len(steps))]


def test_rate_follows_the_cosine_of_each_phase(phases: dict[str, list[dict[str, Any]]]) -> None:
    for name, steps in phases.items():
        published = PHASES[name]
        length = published["cosine"] // EPOCHS * (VIDEOS // (published["batch"] // BATCHES))
        cosine = [(1 + math.cos(math.pi * n / length)) / 2 for n in range(len(steps))]
        expected = [LOW_RATE + (HIGH_RATE - LOW_RATE) * value for value in cosine]
        assert [line["learning_rate"] for line in steps] == pytest.approx(expected, rel=1e-6)


def test_scaled_run_has_a_hundredth_of_the_published_steps() -> None:
    total = sum(VIDEOS // (p["batch"] // BATCHES) * (p["epochs"] // EPOCHS) for p in PHASES.values())
    published = sum(p["steps"] * p["epochs"] for p in PHASES.values())
    assert (total, published) == (688, 69_000)
