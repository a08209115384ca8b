"""Features, predictions and results written by somebody else: used, or an error that names the file."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.evaluation.classification_results import TABLE_FILE
from vicc_ray.evaluation.feature_settings import SETTINGS_FILE, have_same_videos
from vicc_ray.evaluation.feature_store import (
    FeatureFolder,
    FeatureTable,
    load_features,
    missing_parts,
    network_fingerprint,
    save_features,
)
from vicc_ray.evaluation.predictions_io import Predictions, read_predictions, write_predictions
from vicc_ray.evaluation.results_io import RESULT_FILE, read_result
from vicc_ray.evaluation.retrieval_results import evaluate_features
from vicc_ray.export.model_card import card_results
from vicc_ray.reports.run.classification import read_classification
from vicc_ray.reports.run.comparison import compare
from vicc_ray.reports.run.data import read_figures

Change = Callable[[pa.Table], pa.Table]
LABELS = ["a", "b"] * 4


def features(folder: Path) -> Path:
    table = FeatureTable(
        np.array([f"{n}.mp4" for n in range(8)]), np.array(LABELS), np.array(list("01234567")),
        np.array(["train"] * 4 + ["test"] * 4), np.random.default_rng(0).normal(size=(8, 3)),
    )  # fmt: skip
    save_features(folder / "features-rgb-stage1", table)
    return folder / "features-rgb-stage1" / "part-00000.parquet"


def column(name: str, values: Any) -> Change:
    return lambda table: table.set_column(table.schema.get_field_index(name), name, values)


def metadata(name: str, value: bytes) -> Change:
    return lambda table: table.replace_schema_metadata({**table.schema.metadata, name.encode(): value})


UNITS = pa.FixedSizeListArray.from_arrays(pa.array([1.0] * 24, pa.float32()), 3)
FEATURES: dict[str, Change] = {
    "no id": lambda table: table.drop(["id"]),
    "null id": column("id", pa.array([None, *"1234567"])),
    "ids that are numbers": column("id", pa.array(range(8))),
    "endless label": column("label", pa.array(["a" * 10**6, *"1234567"])),
    "no features": lambda table: table.drop(["features"]),
    "features that are texts": column("features", pa.array(list("01234567"))),
    "features of several widths": column("features", pa.array([[1.0] * n for n in range(8)], pa.list_(pa.float32()))),
    "features of doubles": column("features", UNITS.cast(pa.list_(pa.float64(), 3))),
    "missing features": column("features", pa.array([None, *[[1.0] * 3] * 7], UNITS.type)),
    "a missing feature": column("features", pa.array([[None, 1.0, 1.0], *[[1.0] * 3] * 7], UNITS.type)),
    "more rows than a part has": lambda table: table.take([0] * 2000),
    "endless parts": metadata("vicc_ray parts", b"9" * 13),
    "more digits than Python reads": metadata("vicc_ray parts", b"9" * 5000),
    "no number of parts": metadata("vicc_ray parts", b"\xb2"),
}


@pytest.mark.parametrize("change", FEATURES)
def test_invalid_features_are_refused(tmp_path: Path, change: str) -> None:
    part = features(tmp_path)
    pq.write_table(FEATURES[change](pq.read_table(part)), part)
    with pytest.raises(UserError, match="features-rgb-stage1"):
        FeatureFolder(tmp_path).load("rgb-stage1")


def test_feature_parts_that_are_not_files_are_refused(tmp_path: Path) -> None:
    part = features(tmp_path)
    part.unlink()
    os.mkfifo(part)
    assert network_fingerprint(part.parent) == ""
    with pytest.raises(UserError, match="part-00000"):
        load_features(part.parent)


def test_any_network_name_and_part_number_is_read(tmp_path: Path) -> None:
    part = features(tmp_path)
    pq.write_table(metadata("vicc_ray network", b"\xff")(pq.read_table(part)), part)
    assert network_fingerprint(part.parent) == "\ufffd"
    shutil.copy(part, part.with_name("part-²2.parquet"))
    assert missing_parts(part.parent) == []


PREDICTIONS: dict[str, Change] = {
    "no classes": metadata("classes", b"[]"),
    "classes that are a number": metadata("classes", b"5"),
    "classes that are numbers": metadata("classes", b"[1, 2]"),
    "classes twice": metadata("classes", b'["a", "a"]'),
    "more classes than probabilities": metadata("classes", b'["a", "b", "c"]'),
    "deep classes": metadata("classes", b"[" * 20_000),
    "about is a list": metadata("about", b"[]"),
    "a label that is no class": column("label", pa.array(["c", *"bababab"])),
    "a null label": column("label", pa.array([None, *"bababab"])),
    "an id without end": column("id", pa.array(["a" * 10**6, *"1234567"])),
    "probabilities that are whole numbers": column("probabilities", pa.array(range(8))),
    "probabilities that are none": column(
        "probabilities", pa.FixedSizeListArray.from_arrays(pa.array([float("nan")] * 16, pa.float32()), 2)
    ),
    "no probabilities": lambda table: table.drop(["probabilities"]),
    "no metadata": lambda table: table.replace_schema_metadata(),
}


@pytest.mark.parametrize("change", PREDICTIONS)
def test_invalid_predictions_are_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "predictions.parquet"
    ids = np.array([str(n) for n in range(8)])
    write_predictions(path, Predictions(ids, np.array(LABELS), np.full((8, 2), 0.5, np.float32), ["a", "b"]))
    assert read_predictions(path).classes == ["a", "b"]
    pq.write_table(PREDICTIONS[change](pq.read_table(path)), path)
    with pytest.raises(UserError, match="predictions.parquet"):
        read_predictions(path)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    features(run / "evaluation")
    evaluate_features(run / "evaluation", Config())
    (run / "metrics.jsonl").touch()
    return run


RESULTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no rows": lambda result: {name: value for name, value in result.items() if name != "rows"},
    "a list": lambda result: [],
    "rows that are texts": lambda result: {**result, "rows": ["a"]},
    "a row without recall": lambda result: {**result, "rows": [{**result["rows"][0], "recall": {}}]},
    "recall that is text": lambda result: {**result, "rows": [{**result["rows"][0], "recall": {"1": "<b>"}}]},
    "a number that is text": lambda result: {**result, "dataset": {**result["dataset"], "test": "<b>"}},
    "a warning without text": lambda result: {**result, "warnings": [{"kind": "a"}]},
    "no settings": lambda result: {**result, "settings": None},
    "depth": lambda result: {**result, "deep": json.loads("[" * 500 + "]" * 500)},
}


@pytest.mark.parametrize("change", RESULTS)
def test_invalid_results_are_refused(run: Path, change: str) -> None:
    file = run / "evaluation" / RESULT_FILE
    assert read_result(file.parent) == json.loads(file.read_text())
    file.write_text(json.dumps(RESULTS[change](json.loads(file.read_text()))))
    readers: tuple[Callable[[], object], ...] = (
        lambda: read_figures(run, None),
        lambda: compare(run, run),
        lambda: card_results(run, "rgb-stage1"),
    )
    for read in readers:
        with pytest.raises(UserError, match=RESULT_FILE):
            read()


@pytest.mark.parametrize("content", ["[]", "{}", '{"store": "a"}', '{"store": 1, "videos": []}', "{", "[" * 20_000])
def test_invalid_feature_settings_are_refused(run: Path, content: str) -> None:
    (run / "evaluation" / SETTINGS_FILE).write_text(content)
    with pytest.raises(UserError, match=SETTINGS_FILE):
        have_same_videos(run / "evaluation", run / "evaluation")


@pytest.mark.parametrize("content", ["[]", "{}", '{"rows": [{}], "notes": []}', '{"rows": [], "notes": [1]}', "{"])
def test_invalid_classification_tables_are_refused(run: Path, content: str) -> None:
    (run / "classify").mkdir()
    (run / "classify" / TABLE_FILE).write_text(content)
    with pytest.raises(UserError, match=TABLE_FILE):
        read_classification(run)
