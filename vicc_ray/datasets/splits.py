"""Train/test split for videos whose annotations give none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vicc_ray.datasets.base import VideoItem


def assign_splits(items: Sequence[VideoItem], test_fraction: float, seed: int) -> list[VideoItem]:
    """Assign "train" or "test" to each item without a split; all videos of a source get the same.

    Sources are visited in a seeded random order. A source is held out if that brings the test videos closer to
    ``test_fraction`` of every label (on a tie: of all labeled videos). A source that has a split already keeps it.
    Tests need labels, so a source without any is for training.
    """
    given = {item.source: item.split for item in items if item.split}
    per_source: dict[str, Counter[str]] = {}
    for item in items:
        per_source.setdefault(item.source, Counter()).update([item.label] if item.label else [])
    short = {label: test_fraction * n for label, n in Counter(item.label for item in items if item.label).items()}
    for source, split in given.items():
        if split == "test":
            _hold_out(short, per_source[source])
    splits = dict(given)
    undecided = sorted(set(per_source) - set(given))
    for n in np.random.default_rng(seed).permutation(len(undecided)):
        source = undecided[n]
        splits[source] = "test" if _helps(short, per_source[source]) else "train"
        if splits[source] == "test":
            _hold_out(short, per_source[source])
    return [item if item.split else replace(item, split=splits[item.source]) for item in items]


def _hold_out(short: dict[str, float], labels: Counter[str]) -> None:
    for label, n in labels.items():
        short[label] -= n


def _helps(short: dict[str, float], labels: Counter[str]) -> bool:
    """Whether holding out ``labels`` reduces the deficits ``short`` (negative: surplus), or on a tie their sum."""
    gain = sum(abs(short[label]) - abs(short[label] - n) for label, n in labels.items())
    if abs(gain) > 1e-9:
        return gain > 0
    total = sum(short.values())
    return abs(total - sum(labels.values())) < abs(total) - 1e-9
