"""The published results of the method, and how a run differs from the published set-up.

Source: "Self-supervised Video Representation Learning with Cross-Stream Prototypical Contrasting", arXiv 2106.10137:
R@1 by nearest neighbour, trained on UCF101 split 1 without labels; accuracy after fine-tuning of both streams together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vicc_ray.config import Config
from vicc_ray.reports.run.data import RunData
from vicc_ray.reports.run.figure import Figure
from vicc_ray.reports.run.published_settings import PUBLISHED_SETTINGS
from vicc_ray.reports.run.settings import plain


class DataSet(NamedTuple):
    """A data set's official split."""

    title: str
    classes: int
    train: int
    test: int


UCF101 = DataSet("UCF101, split 1", classes=101, train=9537, test=3783)
HMDB51 = DataSet("HMDB51, split 1", classes=51, train=3570, test=1530)
DATA_SETS = (UCF101, HMDB51)
COUNT_TOLERANCE = 0.02
"""Share of a data set's videos that a copy may lack: some do not decode everywhere."""
RECALL = {
    "s3d": {UCF101: {"rgb": 62.1, "flow": 59.7, "rgb+flow": 65.1}, HMDB51: {"rgb": 25.5}},
    "r2plus1d-small": {UCF101: {"rgb": 58.6, "flow": 50.0}},
}
"""Backbone -> data set -> stream -> R@1 in percent."""
FINE_TUNED = {"s3d": {UCF101: {"rgb+flow": 90.5}, HMDB51: {"rgb+flow": 62.2}}}
"""Backbone -> data set -> stream -> top-1 accuracy in percent."""
MAX_SETTINGS = 12
"""Differing settings that are named; the others are counted."""


def published_results(config: Config, dataset: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Published results for a run's backbone, and how the run differs.

    Args:
        config: of the run.
        dataset: of its evaluation.json.

    Returns:
        ``data`` (title of the results' data set: the run's own if there are results for it), ``recall`` and
        ``fine_tuned`` in percent by stream, ``differences`` in words, empty if the run and the results are comparable;
        None if nothing was published for the backbone.
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
    """The data set with the same number of classes and about the same number of videos; None if there is none."""
    if dataset is None:
        return None
    for known in DATA_SETS:
        counts = ((dataset["train"], known.train), (dataset["test"], known.test))
        if dataset["classes"] == known.classes and all(abs(n - m) <= COUNT_TOLERANCE * m for n, m in counts):
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
    differences = []
    for key, value in PUBLISHED_SETTINGS.items():
        section, name = key.split(".")
        actual = plain(getattr(getattr(config, section), name))
        if actual != plain(value):
            differences.append(f"{key} is {_text(actual)} instead of {_text(value)}")
    rest = len(differences) - MAX_SETTINGS
    return differences[:MAX_SETTINGS] + ([f"{rest} more settings"] if rest > 0 else [])


def _text(value: Any) -> str:
    return str(plain(value)).lower() if isinstance(value, bool) else str(plain(value))


def _read(data: RunData) -> dict[str, Any] | None:
    return published_results(data.config, data.retrieval["dataset"] if data.retrieval else None)


FIGURE = Figure(15, _read)
