"""Feature files and the table made from them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vicc_ray.config import Config, EvaluateConfig, ScheduleConfig
from vicc_ray.errors import UserError
from vicc_ray.evaluation import feature_store
from vicc_ray.evaluation.feature_store import (
    FeatureTable,
    feature_names,
    feature_path,
    load_features,
    missing_parts,
    save_features,
)
from vicc_ray.evaluation.retrieval import retrieve, retrieve_two_streams
from vicc_ray.evaluation.retrieval_results import evaluate_features, row_label, row_order

NAMES = ["flow-random", "flow-stage1", "flow-stage2-1", "rgb-random", "rgb-stage1", "rgb-stage2-1"]


def make_table(signal: float, seed: int, videos: int = 60, classes: int = 4) -> FeatureTable:
    rng = np.random.default_rng(seed)
    labels = np.arange(videos) % classes
    features = rng.normal(size=(videos, 8)) + signal * np.eye(classes, 8)[labels]
    splits = np.where(np.arange(videos) < videos * 2 // 3, "train", "test")
    ids = [f"v{i:03d}" for i in range(videos)]
    return FeatureTable(
        ids, [f"class{label}" for label in labels], [f"s{i % 9}" for i in range(videos)], splits, features
    )


def fill(folder: Path, names: list[str] = NAMES) -> dict[str, FeatureTable]:
    tables = {name: make_table(signal=1.0 + 2.0 * ("stage2" in name), seed=i) for i, name in enumerate(names)}
    for name, table in tables.items():
        save_features(feature_path(folder, name), table)
    return tables


def test_features_survive_a_round_trip(tmp_path: Path) -> None:
    table = make_table(1, 0)
    path = feature_path(tmp_path, "rgb-stage1")
    save_features(path, table)
    loaded = load_features(path)
    for name in ("ids", "labels", "sources", "splits", "features"):
        assert np.array_equal(getattr(loaded, name), getattr(table, name))
    assert feature_names(tmp_path) == ["rgb-stage1"]
    assert [p.name for p in tmp_path.iterdir()] == ["features-rgb-stage1"]


def test_features_are_written_in_parts_and_are_complete_or_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_store, "PART_VIDEOS", 7)
    table, path = make_table(1, 0, videos=40), feature_path(tmp_path, "rgb-stage1")
    save_features(path, table)
    assert np.array_equal(load_features(path).features, table.features)
    parts = sorted(path.iterdir())
    assert len(parts) == 6
    parts[4].unlink()
    assert missing_parts(path, 40) == missing_parts(path) == [4]
    assert feature_names(tmp_path) == []
    with pytest.raises(UserError, match="1 of 6 parts are missing"):
        load_features(path)
    parts[5].unlink()
    assert missing_parts(path, 40) == [4, 5]


@pytest.mark.parametrize("content", [b"", b"text, not arrays", b"PAR1 cut off"])
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = feature_path(tmp_path, "rgb-stage1")
    save_features(path, make_table(1, 0))
    (path / "part-00000.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"features-rgb-stage1/part-00000\.parquet"):
        load_features(path)


def test_features_of_a_diverged_network_are_rejected(tmp_path: Path) -> None:
    table = make_table(1, 0)
    table.features[3, 2] = np.nan
    save_features(tmp_path / "features-rgb-stage1", table)
    with pytest.raises(UserError, match="v003.*diverged"):
        load_features(tmp_path / "features-rgb-stage1")


def test_rows_are_in_order_and_equal_retrieval(tmp_path: Path) -> None:
    tables = fill(tmp_path)
    result = evaluate_features(tmp_path, Config())
    assert json.loads((tmp_path / "evaluation.json").read_text()) == result
    assert [row["key"] for row in result["rows"]] == [
        "rgb-random", "flow-random", "rgb-stage1", "flow-stage1", "rgb-stage2-1", "flow-stage2-1", "rgb+flow"
    ]  # fmt: skip
    assert result["rows"][4]["name"] == "RGB after the cross-stream stage"
    for row in result["rows"][:-1]:
        expected = retrieve(tables[row["key"]].split("train"), tables[row["key"]].split("test"))
        recall = {k: None if np.isnan(value) else pytest.approx(value) for k, value in expected.recall.items()}
        assert row["recall"] == {str(k): value for k, value in recall.items()}
        assert row["low"] <= row["recall"]["1"] <= row["high"]
    rgb, flow = tables["rgb-stage2-1"], tables["flow-stage2-1"]
    both = retrieve_two_streams(rgb.split("train"), rgb.split("test"), flow.split("train"), flow.split("test"))
    assert result["rows"][-1]["recall"]["1"] == pytest.approx(both.recall[1])
    assert result["dataset"]["chance"] == pytest.approx(0.25)
    assert (result["dataset"]["train"], result["dataset"]["test"], result["dataset"]["classes"]) == (40, 20, 4)


def test_gain_is_the_difference_of_the_two_rows(tmp_path: Path) -> None:
    fill(tmp_path)
    result = evaluate_features(tmp_path, Config())
    by_key = {row["key"]: row for row in result["rows"]}
    gain = result["gain"]
    assert gain["recall_at_1"] == pytest.approx(
        by_key["rgb-stage2-1"]["recall"]["1"] - by_key["rgb-stage1"]["recall"]["1"]
    )
    assert gain["low"] <= gain["recall_at_1"] <= gain["high"]


def test_order_of_rows_in_the_files_does_not_matter(tmp_path: Path) -> None:
    tables = fill(tmp_path)
    before = evaluate_features(tmp_path, Config())
    mixed = tables["flow-stage2-1"]
    order = np.random.default_rng(0).permutation(len(mixed.ids))
    save_features(
        feature_path(tmp_path, "flow-stage2-1"),
        FeatureTable(*(getattr(mixed, name)[order] for name in ("ids", "labels", "sources", "splits", "features"))),
    )
    assert evaluate_features(tmp_path, Config()) == before


def test_unlabeled_videos_are_left_out_and_counted(tmp_path: Path) -> None:
    full = make_table(2, 0)
    labels = full.labels.copy()
    labels[[1, 5, 50]] = ""
    save_features(
        feature_path(tmp_path, "rgb-stage1"), FeatureTable(full.ids, labels, full.sources, full.splits, full.features)
    )
    result = evaluate_features(tmp_path, Config())
    assert result["dataset"]["unlabeled"] == 3
    assert (result["dataset"]["train"], result["rows"][0]["queries"]) == (38, 19)
    assert result["gain"] is None


def test_ignoring_the_source_reaches_the_score(tmp_path: Path) -> None:
    table = make_table(0, 0)
    sources = np.where(np.arange(60) % 2 == 0, "even", "odd")
    save_features(
        feature_path(tmp_path, "rgb-stage1"),
        FeatureTable(table.ids, table.labels, sources, table.splits, table.features),
    )
    result = evaluate_features(tmp_path, Config(evaluate=EvaluateConfig(exclude_same_source=True)))
    assert result["dataset"]["chance"] == 0
    assert not result["rows"][0]["classes"][0]["recall_at_1"] and set(result["rows"][0]["recall"].values()) == {None}


def test_cycles_and_the_control_have_distinct_names() -> None:
    names = row_order(["flow-stage2-2", "rgb-stage2-1", "rgb-stage2-10", "rgb-stage2-2", "notes", "rgb-random"])
    assert names == ["rgb-random", "rgb-stage2-1", "rgb-stage2-2", "flow-stage2-2", "rgb-stage2-10"]
    labels = [row_label(name, names) for name in names]
    assert labels[1] == "RGB after the cross-stream stage, cycle 1"
    assert labels[4] == "RGB after the cross-stream stage"
    assert len(set(labels)) == len(labels)
    assert "cross" not in row_label(
        "rgb-stage2-10", names, Config(schedule=ScheduleConfig(cross_stream=False)).schedule.cross_stream
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.full(60, "")}, "60 videos.*label"),
        ({"splits": np.full(60, "train")}, "'test'.*train 40, test 0|train 60, test 0"),
        ({"splits": np.full(60, "")}, "'train'.*train 0, test 0"),
    ],
)
def test_a_set_that_cannot_be_scored_is_refused(tmp_path: Path, change: dict[str, np.ndarray], message: str) -> None:
    table = make_table(1, 0)
    columns = {name: getattr(table, name) for name in ("ids", "labels", "sources", "splits", "features")}
    save_features(feature_path(tmp_path, "rgb-stage1"), FeatureTable(**{**columns, **change}))
    with pytest.raises(UserError, match=message):
        evaluate_features(tmp_path, Config())
    assert not (tmp_path / "evaluation.json").exists()


def test_missing_features_and_features_of_other_videos_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="vicc-ray evaluate"):
        evaluate_features(tmp_path, Config())
    save_features(feature_path(tmp_path, "rgb-stage1"), make_table(1, 0))
    save_features(feature_path(tmp_path, "flow-stage1"), make_table(1, 0, videos=40))
    with pytest.raises(UserError, match="features-rgb-stage1.*60.*flow-stage1.*40|flow-stage1.*40.*rgb-stage1.*60"):
        evaluate_features(tmp_path, Config())


def test_a_table_is_removed_with_its_features(tmp_path: Path) -> None:
    fill(tmp_path)
    evaluate_features(tmp_path, Config())
    table = make_table(1, 0)
    for name in NAMES:
        unlabeled = FeatureTable(table.ids, np.full(60, ""), table.sources, table.splits, table.features)
        save_features(feature_path(tmp_path, name), unlabeled)
    with pytest.raises(UserError, match="none of the 60"):
        evaluate_features(tmp_path, Config())
    assert not (tmp_path / "evaluation.json").exists()
