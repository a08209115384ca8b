"""Validation videos: whole sources of training videos, of every class, the same ones in every run."""

from __future__ import annotations

from dataclasses import asdict

import pyarrow as pa

from tests.training.fixtures import small_config
from vicc_ray.clip_store.catalog import Catalog, VideoRecord
from vicc_ray.training.validation.evaluator import ValidationSet
from vicc_ray.training.validation.split import training_videos, validation_sources, validation_videos

CLASSES, SOURCES, CLIPS = 3, 10, 4


def made(sources: int = SOURCES) -> Catalog:
    """Of each class so many sources of four clips; a source in five is for testing; some clips have no label."""
    rows = []
    for label in ("run", "walk", ""):
        for source in range(sources):
            for clip in range(CLIPS):
                split = "test" if source % 5 == 4 else "train"
                id = f"{label}/{source}-{clip}.mp4"
                rows.append(VideoRecord(id, label, f"{label} {source}", split, id, 20, 25.0, 32, 40, 0, len(rows)))
    return Catalog(pa.Table.from_pylist([asdict(row) for row in rows]))


def test_no_source_is_on_both_sides_and_no_test_video_on_either() -> None:
    entries = made()
    train, validation = training_videos(entries, 0.25), validation_videos(entries, 0.25)
    assert not {e.source for e in train} & {e.source for e in validation}
    assert not {e.split for e in [*train, *validation]} - {"train"}
    assert len(train) + len(validation) == sum(e.split == "train" for e in entries)
    assert {e.label: sum(v.label == e.label for v in validation) for e in validation} == {"run": 8, "walk": 8}


def test_without_a_share_all_but_the_test_videos_are_trained_on() -> None:
    entries = made()
    assert list(training_videos(entries, 0.0)) == [e for e in entries if e.split != "test"]
    assert len(validation_videos(entries, 0.0)) == 0


def test_more_videos_leave_what_was_held_out_held_out() -> None:
    few, many = ([(e.split, e.label, e.source) for e in made(sources)] for sources in (SOURCES, 2 * SOURCES))
    assert validation_sources(few, 0.25) <= validation_sources(many, 0.25)


def test_checks_score_validation_videos_among_those_that_are_trained_on() -> None:
    entries = made()
    for seed in (0, 1):
        held_out = ValidationSet.choose(
            entries, small_config(train={"validation_fraction": 0.25}).model_copy(update={"seed": seed})
        )
        assert held_out is not None
        assert held_out.test == list(validation_videos(entries, 0.25))
        assert held_out.train == [e for e in training_videos(entries, 0.25) if e.label]
