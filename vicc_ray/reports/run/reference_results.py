"""The published figures of the method, and what in a run is other than what they were measured with.

Source: "Self-supervised Video Representation Learning with Cross-Stream Prototypical Contrasting", arXiv 2106.10137:
R@1 by nearest neighbour, trained on UCF101 split 1 without labels; accuracy after fine-tuning of both streams together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vicc_ray.config import Config
from vicc_ray.config.loader import load_config
from vicc_ray.reports.run.settings import plain


class DataSet(NamedTuple):
    """An official split."""

    title: str
    classes: int
    train: int
    test: int


UCF101 = DataSet("UCF101, split 1", classes=101, train=9537, test=3783)
HMDB51 = DataSet("HMDB51, split 1", classes=51, train=3570, test=1530)
DATA_SETS = (UCF101, HMDB51)
NEAR = 0.02
"""Share of videos that a copy of a data set may lack and still be it: some do not decode everywhere."""
RECALL = {
    "s3d": {UCF101: {"rgb": 62.1, "flow": 59.7, "rgb+flow": 65.1}, HMDB51: {"rgb": 25.5}},
    "r2plus1d-small": {UCF101: {"rgb": 58.6, "flow": 50.0}},
}
"""Backbone -> data set -> stream -> R@1 in per cent."""
FINE_TUNED = {"s3d": {UCF101: {"rgb+flow": 90.5}, HMDB51: {"rgb+flow": 62.2}}}
"""Backbone -> data set -> stream -> top-1 in per cent."""
RECIPES = {"s3d": "ucf101-s3d", "r2plus1d-small": "ucf101-r2plus1d"}
COMPARED = ("prepare", "clip", "model", "method", "schedule", "optimizer")
"""Sections of a recipe in which the published run is described."""
SHOWN = 12
"""Settings that are named; the rest are counted."""


def published(config: Config, dataset: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What was published for a run's backbone, and how the run differs.

    Args:
        config: of the run.
        dataset: of its ``evaluation.json``.

    Returns:
        ``data`` (title of the data set that the figures are of: the run's own, if it is one that was published),
        ``recall`` and ``fine_tuned`` in per cent by stream, ``differences`` in words, empty where run and figures can
        be compared; None where nothing was published for the backbone.
    """
    backbone = config.model.backbone
    if backbone not in RECALL:
        return None
    own = known_data_set(dataset)
    shown = own if own in RECALL[backbone] else UCF101
    return {
        "data": shown.title,
        "recall": RECALL[backbone][shown],
        "fine_tuned": FINE_TUNED.get(backbone, {}).get(shown, {}),
        "differences": [*_other_data(dataset, own, shown), *_other_settings(config)],
    }


def known_data_set(dataset: Mapping[str, Any] | None) -> DataSet | None:
    """The data set that has as many classes and about as many videos; None if there is none."""
    if dataset is None:
        return None
    for known in DATA_SETS:
        counts = ((dataset["train"], known.train), (dataset["test"], known.test))
        if dataset["classes"] == known.classes and all(abs(n - m) <= NEAR * m for n, m in counts):
            return known
    return None


def _other_data(dataset: Mapping[str, Any] | None, own: DataSet | None, shown: DataSet) -> list[str]:
    if dataset is None or own == shown:
        return []
    return [
        f"other videos: {dataset['train']:,} to train with and {dataset['test']:,} to test with, of "
        f"{dataset['classes']} classes, instead of {shown.train:,} and {shown.test:,} of {shown.classes}"
    ]


def _other_settings(config: Config) -> list[str]:
    wanted = load_config(RECIPES[config.model.backbone], [])
    found = []
    for section in COMPARED:
        for key, value in getattr(wanted, section):
            given = getattr(getattr(config, section), key)
            if plain(given) != plain(value):
                found.append(f"{section}.{key} is {_text(given)} instead of {_text(value)}")
    if config.train.global_batch_size != wanted.train.global_batch_size:
        found.append(
            f"train.global_batch_size is {config.train.global_batch_size} instead of {wanted.train.global_batch_size}"
        )
    rest = len(found) - SHOWN
    return found[:SHOWN] + ([f"{rest} more settings"] if rest > 0 else [])


def _text(value: Any) -> str:
    return str(plain(value)).lower() if isinstance(value, bool) else str(plain(value))
