"""Accuracy of classifiers, ``classification.json``: a row for each, and for both streams combined.

Content of the file:

    rows      a list: each classifier; then, where both streams have one of the same mode, their mean (R+F)
        key         "rgb-probe", "flow-finetune", "rgb+flow-cached_probe", ...
        name        the same in words
        stream      "rgb", "flow" or "rgb+flow"
        mode        "probe", "finetune", "cached_probe"
        top1        fraction of test videos whose most probable class is the true one (0 to 1)
        low, high   its 95 % interval by bootstrap over the videos
        top5, top5_low, top5_high   the same for the five most probable classes; None with five classes or fewer
        videos      test videos
        classes     K
        chance      expected top1 of a random guess: 1 / K
        per_class   a list by class: class, videos, top1 (None without a test video), confused_with (the most frequent
                    wrong prediction, None if there is none)
        about       provenance of the predictions; for R+F, ``of``: the keys of both
    notes     a list of lines: videos that were left out, predictions that could not be fused

``<stream>-<mode>/result.json`` has the row of one classifier and ``confusion``: int [K, K], rows are true classes,
columns predicted ones, both in the order of ``per_class``. N videos, K classes.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vicc_ray.errors import UserError
from vicc_ray.evaluation.bootstrap import hit_interval
from vicc_ray.evaluation.predictions_io import Predictions, read_predictions
from vicc_ray.utils.fs import atomic_write

TABLE_FILE, RESULT_FILE, PREDICTIONS_FILE = "classification.json", "result.json", "predictions.parquet"
STREAMS = {"rgb": "RGB", "flow": "Flow", "rgb+flow": "R+F: mean probability"}
MODES = {"finetune": "fine-tuned", "probe": "linear probe", "cached_probe": "cached probe"}
TOP_K = 5


def score_predictions(out: Path, seed: int = 0) -> dict[str, Any]:
    """Score each ``<stream>-<mode>/predictions.parquet`` in ``out`` and write the files described in the module.

    Args:
        seed: of the bootstrap.

    Returns:
        The content of ``out/classification.json``.

    Raises:
        UserError: there are no predictions, or damaged ones.
    """
    rows, notes = [], []
    for mode in MODES:
        folders = {stream: out / f"{stream}-{mode}" for stream in ("rgb", "flow")}
        by_stream = {
            stream: read_predictions(folder / PREDICTIONS_FILE)
            for stream, folder in folders.items()
            if (folder / PREDICTIONS_FILE).exists()
        }
        for stream, predictions in by_stream.items():
            row = classifier_row(predictions, stream, mode, seed)
            result = {**row, "confusion": confusion_matrix(predictions).tolist()}
            atomic_write(folders[stream] / RESULT_FILE, json.dumps(result, indent=1) + "\n")
            rows.append(row)
            notes += [f"{row['key']}: {note}" for note in predictions.about.get("notes", [])]
        if len(by_stream) > 1:
            both = fuse(by_stream["rgb"], by_stream["flow"], [f"rgb-{mode}", f"flow-{mode}"])
            if both is None:
                notes.append(f"rgb-{mode} and flow-{mode} have different test videos or classes: not fused")
            else:
                rows.append(classifier_row(both, "rgb+flow", mode, seed))
    if not rows:
        raise UserError(f"no predictions in {out}: run `vicc-ray classify` first")
    table = {"rows": rows, "notes": notes}
    atomic_write(out / TABLE_FILE, json.dumps(table, indent=1) + "\n")
    return table


def fuse(rgb: Predictions, flow: Predictions, of: list[str]) -> Predictions | None:
    """The mean of both streams' probabilities; None where their videos, labels or classes differ."""
    same = rgb.classes == flow.classes and np.array_equal(rgb.ids, flow.ids) and np.array_equal(rgb.labels, flow.labels)
    if not same or rgb.about.get("videos") != flow.about.get("videos"):
        return None
    return replace(rgb, probabilities=(rgb.probabilities + flow.probabilities) / 2, about={"of": of})


def classifier_row(predictions: Predictions, stream: str, mode: str, seed: int = 0) -> dict[str, Any]:
    """The row of one classifier, as described in the module."""
    top1, top5 = top_k_hits(predictions, 1), top_k_hits(predictions, TOP_K)
    classes = len(predictions.classes)
    (low, high), (low5, high5) = hit_interval(top1, seed), hit_interval(top5, seed)
    has_top5 = classes > TOP_K
    return {
        "key": f"{stream}-{mode}",
        "name": f"{STREAMS[stream]}, {MODES[mode]}",
        **{"stream": stream, "mode": mode},
        **{"top1": float(top1.mean()), "low": low, "high": high},
        "top5": float(top5.mean()) if has_top5 else None,
        **{"top5_low": low5 if has_top5 else None, "top5_high": high5 if has_top5 else None},
        **{"videos": len(top1), "classes": classes, "chance": 1 / classes},
        "per_class": _per_class(predictions),
        "about": predictions.about,
    }


def top_k_hits(predictions: Predictions, k: int) -> np.ndarray:
    """Whether the label is among the ``k`` most probable classes, bool [N]; of ties the first class counts."""
    top = np.argsort(-predictions.probabilities, axis=1, kind="stable")[:, :k]
    return (top == _true_classes(predictions)[:, None]).any(axis=1)


def confusion_matrix(predictions: Predictions) -> np.ndarray:
    """Numbers of videos by true class (rows) and most probable class (columns), int64 [K, K]."""
    classes = len(predictions.classes)
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (_true_classes(predictions), predictions.probabilities.argmax(axis=1)), 1)
    return counts


def _per_class(predictions: Predictions) -> list[dict[str, Any]]:
    counts = confusion_matrix(predictions)
    rows = []
    for n, name in enumerate(predictions.classes):
        videos, wrong = int(counts[n].sum()), np.where(np.arange(len(counts)) == n, 0, counts[n])
        confused_with = predictions.classes[int(np.argmax(wrong))] if wrong.any() else None
        top1 = float(counts[n, n] / videos) if videos else None
        rows.append({"class": name, "videos": videos, "top1": top1, "confused_with": confused_with})
    return rows


def _true_classes(predictions: Predictions) -> np.ndarray:
    """Class number of each label, int64 [N]."""
    number = {name: n for n, name in enumerate(predictions.classes)}
    return np.array([number[label] for label in predictions.labels.tolist()], np.int64)
