"""Accuracy from probabilities: by hand, and as the files that a report reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vicc_ray.errors import UserError
from vicc_ray.evaluation.classification_results import (
    classifier_row,
    confusion_matrix,
    fuse,
    score_predictions,
    top_k_hits,
)
from vicc_ray.evaluation.predictions_io import Predictions, read_predictions, write_predictions

CLASSES = ["a", "b", "c", "d", "e", "f"]


def predictions(rows: list[list[float]], labels: str, classes: list[str] = CLASSES) -> Predictions:
    ids = np.array([f"{n}.mp4" for n in range(len(rows))])
    return Predictions(ids, np.array(list(labels)), np.array(rows, np.float32), classes)


THREE = predictions(
    [
        [0.5, 0.1, 0.1, 0.1, 0.1, 0.1],  # a: right
        [0.4, 0.3, 0.1, 0.1, 0.06, 0.04],  # f is last: not among five
        [0.4, 0.3, 0.1, 0.1, 0.06, 0.04],  # e is fifth
    ],
    "afe",
)


def test_top_1_and_top_5_by_hand() -> None:
    assert top_k_hits(THREE, 1).tolist() == [True, False, False]
    assert top_k_hits(THREE, 5).tolist() == [True, False, True]
    row = classifier_row(THREE, "rgb", "probe")
    assert (row["top1"], row["top5"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert row["low"] <= row["top1"] <= row["high"]
    assert row["top5_low"] <= row["top5"] <= row["top5_high"]
    assert (row["videos"], row["classes"], row["chance"]) == (3, 6, pytest.approx(1 / 6))


def test_confusion_matrix_has_true_classes_as_rows() -> None:
    counts = confusion_matrix(THREE)
    assert counts.sum() == 3
    assert (counts[0, 0], counts[5, 0], counts[4, 0]) == (1, 1, 1)
    by_class = {entry["class"]: entry for entry in classifier_row(THREE, "rgb", "probe")["per_class"]}
    assert by_class["a"] == {"class": "a", "videos": 1, "top1": 1.0, "confused_with": None}
    assert by_class["f"] == {"class": "f", "videos": 1, "top1": 0.0, "confused_with": "a"}
    assert by_class["b"] == {"class": "b", "videos": 0, "top1": None, "confused_with": None}


def test_five_classes_or_fewer_have_no_top_5() -> None:
    row = classifier_row(predictions([[0.9, 0.1]], "a", ["a", "b"]), "rgb", "probe")
    assert (row["top5"], row["top5_low"], row["top5_high"]) == (None, None, None)


def test_fusion_is_the_mean_of_probabilities() -> None:
    rgb = predictions([[0.6, 0.4], [0.6, 0.4]], "ab", ["a", "b"])
    flow = predictions([[0.45, 0.55], [0.1, 0.9]], "ab", ["a", "b"])
    both = fuse(rgb, flow, ["rgb-probe", "flow-probe"])
    assert both is not None
    np.testing.assert_allclose(both.probabilities, [[0.525, 0.475], [0.35, 0.65]], rtol=1e-6)
    assert (classifier_row(rgb, "rgb", "probe")["top1"], classifier_row(both, "rgb+flow", "probe")["top1"]) == (
        0.5,
        1.0,
    )
    assert fuse(rgb, predictions([[0.6, 0.4]], "a", ["a", "b"]), []) is None
    assert fuse(rgb, predictions([[0.6, 0.4]] * 2, "ab", ["a", "c"]), []) is None


def test_the_table_has_a_row_per_stream_and_one_for_both(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no predictions"):
        score_predictions(tmp_path)
    for key in ("rgb-probe", "flow-probe", "rgb-finetune"):
        write_predictions(tmp_path / key / "predictions.parquet", THREE)
    table = score_predictions(tmp_path)
    assert [row["key"] for row in table["rows"]] == ["rgb-finetune", "rgb-probe", "flow-probe", "rgb+flow-probe"]
    assert table["rows"][-1]["about"] == {"of": ["rgb-probe", "flow-probe"]}
    assert table["rows"][-1]["name"] == "R+F: mean probability, linear probe"
    assert json.loads((tmp_path / "classification.json").read_text()) == table
    result = json.loads((tmp_path / "rgb-probe" / "result.json").read_text())
    assert result["confusion"] == confusion_matrix(THREE).tolist()
    assert result["top1"] == table["rows"][1]["top1"]


def test_predictions_of_other_videos_are_not_fused_and_noted(tmp_path: Path) -> None:
    write_predictions(tmp_path / "rgb-cached_probe" / "predictions.parquet", THREE)
    write_predictions(tmp_path / "flow-cached_probe" / "predictions.parquet", predictions([[1, 0, 0, 0, 0, 0]], "a"))
    table = score_predictions(tmp_path)
    assert [row["key"] for row in table["rows"]] == ["rgb-cached_probe", "flow-cached_probe"]
    (note,) = table["notes"]
    assert "rgb-cached_probe" in note and "flow-cached_probe" in note


def test_predictions_survive_a_round_trip(tmp_path: Path) -> None:
    written = Predictions(THREE.ids, THREE.labels, THREE.probabilities, CLASSES, {"crops": "ten"})
    write_predictions(tmp_path / "predictions.parquet", written)
    read = read_predictions(tmp_path / "predictions.parquet")
    assert (read.classes, read.about) == (CLASSES, {"crops": "ten"})
    for name in ("ids", "labels", "probabilities"):
        assert np.array_equal(getattr(read, name), getattr(written, name))
    assert read.probabilities.dtype == np.float32
    (tmp_path / "predictions.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match=r"predictions\.parquet"):
        read_predictions(tmp_path / "predictions.parquet")
