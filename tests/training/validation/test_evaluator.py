"""Whether a run can be checked on held-out videos while it trains, and what is said where it cannot."""

from __future__ import annotations

from dataclasses import asdict

import pyarrow as pa
import pytest

from tests.training.fixtures import small_config
from vicc_ray.clip_store.catalog import Catalog, VideoRecord
from vicc_ray.training.validation.evaluator import ValidationSet, validation_skip_reason


def made(*videos: tuple[str, str]) -> Catalog:
    """A video for each (label, split)."""
    rows = [
        VideoRecord(f"{n}.mp4", label, f"{n}", split, f"{n}", 20, 25.0, 32, 40, 0, n)
        for n, (label, split) in enumerate(videos)
    ]
    return Catalog(pa.Table.from_pylist([asdict(row) for row in rows]))


@pytest.mark.parametrize(
    ("videos", "said"),
    [
        ([("", "train"), ("", "train")], "no video has one"),
        ([("", "train"), ("", "test")], "no video has one"),
        ([("a", "train"), ("b", "train")], "split 'test'"),
        ([("a", "train"), ("", "test")], "split 'test'"),
        ([("a", "train"), ("b", "train"), ("a", "test"), ("b", "test")], ""),
        ([("a", "train"), ("b", "train"), ("a", "test")], "split 'test'"),
        ([("a", "train"), ("a", "train"), ("a", "test"), ("a", "test")], "split 'test'"),
    ],
)
def test_a_run_that_cannot_be_checked_says_why(videos: list[tuple[str, str]], said: str) -> None:
    entries, config = made(*videos), small_config(train={"validate_every_epochs": 1})
    text = validation_skip_reason(entries, config)
    assert said in text
    assert bool(text) is (ValidationSet.choose(entries, config) is None)


def test_nothing_is_said_where_no_checks_were_asked_for() -> None:
    assert validation_skip_reason(made(("", "train")), small_config(train={"validate_every_epochs": 0})) == ""
