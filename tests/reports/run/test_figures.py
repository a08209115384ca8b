"""Figures of the report that rate a run: classes, map, prototypes, comparison, published results, accuracy."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch.nn.functional import normalize

from tests.reports.run.test_build import build
from tests.run_folder import features_of
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config
from vicc_ray.config.loader import load_config
from vicc_ray.errors import UserError
from vicc_ray.evaluation import feature_store
from vicc_ray.evaluation.feature_store import FeatureFolder, FeatureTable, feature_path, load_features, save_features
from vicc_ray.evaluation.retrieval import retrieve
from vicc_ray.evaluation.retrieval_results import evaluate_features
from vicc_ray.reports.run import build_report
from vicc_ray.reports.run.comparison import _pairs
from vicc_ray.reports.run.confusion import read_confusion
from vicc_ray.reports.run.embedding_map import project, read_map
from vicc_ray.reports.run.prototypes import CLOSEST, read_prototypes
from vicc_ray.reports.run.reference_results import known_data_set, published_results
from vicc_ray.runs.checkpoint_state import take_snapshot
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.runs.schedule import build_phases
from vicc_ray.training.tasks.pretrainer import Pretrainer

UCF101 = {"classes": 101, "train": 9537, "test": 3783}
FIRST = {"seed": 0, "cross_stream": True}


def clusters(count: int, each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """FeatureFolder [count x each, 16] in well separated clusters, and their numbers."""
    rng = np.random.default_rng(seed)
    numbers = np.arange(count * each) % count
    return (8 * np.eye(count, 16)[numbers] + rng.normal(size=(count * each, 16))).astype(np.float32), numbers


@pytest.mark.slow
def test_clusters_of_features_stay_together_on_the_map() -> None:
    features, numbers = clusters(5, 20)
    places = project(features, seed=0)
    assert places.min() == 0 and places.max() == 1
    distances = np.linalg.norm(places[:, None] - places[None], axis=2) + 9 * np.eye(len(places))
    assert (numbers[distances.argmin(1)] == numbers).mean() > 0.98
    assert np.array_equal(project(features, seed=0), places)


@pytest.mark.slow
def test_the_map_shows_test_videos_first(tmp_path: Path) -> None:
    features, numbers = clusters(4, 200)
    splits = np.where(np.arange(800) < 700, "train", "test")
    ids = np.array([f"v{i:03d}" for i in range(800)])
    save_features(feature_path(tmp_path, "rgb-stage1"), FeatureTable(ids, numbers.astype(str), ids, splits, features))
    found = read_map(FeatureFolder(tmp_path), FIRST)
    assert found is not None
    shown = {point["id"] for point in found["points"]}
    assert set(ids[700:]) < shown and len(shown) == 480 and found["videos"] == 800
    assert found["labels"] == ["0", "1", "2", "3"]
    assert all(found["labels"][point["label"]] == str(int(point["id"][1:]) % 4) for point in found["points"])


@pytest.fixture
def trained(tmp_path: Path, store: ClipStore) -> tuple[Path, Config]:
    """A run with one finished phase, its checkpoint and its features."""
    sections = {
        "model": {"backbone": "tiny", "embed_dim": 8},
        "method": {"num_prototypes": 6, "queue_size": 0},
        "schedule": {"rgb_epochs": 1, "flow_epochs": 0, "stage1_cosine_epochs": 1, "cycles": 0},
    }
    config = Config.model_validate(sections)
    folder = RunDir(tmp_path / "trained")
    folder.open(config)
    pretrainer = Pretrainer(config, torch.device("cpu"))
    phase = build_phases(config.schedule)[0]
    pretrainer.start_phase(phase)
    path = folder.phase_checkpoint(phase.index, phase.name)
    path.mkdir()
    take_snapshot(pretrainer, 1, 1.0, config.model_dump(mode="json")).write(path)
    table = features_of(store, 0)
    width = pretrainer.encoders["rgb"].backbone.features
    features = np.random.default_rng(0).normal(size=(len(table.ids), width))
    save_features(
        feature_path(folder.path / "evaluation", phase.name),
        FeatureTable(table.ids, table.labels, table.sources, table.splits, features),
    )
    return folder.path, config


def test_prototypes_show_their_nearest_videos(trained: tuple[Path, Config]) -> None:
    run, config = trained
    found = read_prototypes(run, config, FeatureFolder(run / "evaluation"))
    assert found is not None
    fresh = Pretrainer(config, torch.device("cpu"))
    table = load_features(feature_path(run / "evaluation", "rgb-stage1")).sorted()
    with torch.inference_mode():
        embedded = normalize(fresh.encoders["rgb"].head(torch.from_numpy(table.features)), dim=1)
        scores = (embedded @ fresh.prototypes["rgb"].weight.T).numpy()
    counts = Counter(scores.argmax(1).tolist())
    assert found["all"] == 6 and found["used"] == len(counts)
    assert sum(one["videos"] for one in found["prototypes"]) == len(table.ids)
    for one in found["prototypes"]:
        assert one["videos"] == counts[one["index"]]
        rows = np.flatnonzero(scores.argmax(1) == one["index"])
        order = rows[np.argsort(-scores[rows, one["index"]])][:CLOSEST]
        assert [video["id"] for video in one["closest"]] == table.ids[order].tolist()
        own = table.labels[scores.argmax(1) == one["index"]].tolist()
        assert one["share"] == pytest.approx(own.count(one["label"]) / len(own))


@pytest.mark.slow
def test_prototypes_are_on_the_page(trained: tuple[Path, Config], store: ClipStore) -> None:
    page, _, figures = build(trained[0], store)
    assert "prototypes" in page.attributes("id")
    assert page.attributes("class").count("card prototype") == len(figures["prototypes"]["prototypes"])


@pytest.mark.slow
def test_features_are_read_once_for_gallery_map_and_prototypes(
    trained: tuple[Path, Config], store: ClipStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, parts = feature_store.read_parquet, []

    def noted(path: Path, *given: Any) -> object:
        parts.append(str(path))
        return read(path, *given)

    monkeypatch.setattr(feature_store, "read_parquet", noted)
    _, _, figures = build(trained[0], store)
    assert figures["gallery"] and figures["embedding_map"] and figures["prototypes"]
    assert len([part for part in parts if "features-rgb-stage1" in part]) == 1


@pytest.mark.slow
def test_another_run_is_compared_query_by_query(run_dir: Path, store: ClipStore, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run_dir, other)
    save_features(feature_path(other / "evaluation", "rgb-stage1"), features_of(store, 77))
    evaluate_features(other / "evaluation", Config())
    config = yaml.safe_load((other / "config.yaml").read_text())
    config["method"]["sinkhorn_epsilon"], config["name"] = 0.025, "the <other>"
    (other / "config.yaml").write_text(yaml.safe_dump(config))
    html = build_report(run_dir, store, other).read_text()
    figures = json.loads((run_dir / "report" / "report.json").read_text())["comparison"]
    rows = {row["key"]: row for row in figures["rows"]}
    assert rows["rgb-stage2-1"]["difference"] == rows["rgb-stage2-1"]["low"] == 0
    hits = []
    for folder in (run_dir, other):
        table = load_features(feature_path(folder / "evaluation", "rgb-stage1")).sorted()
        hits.append(retrieve(table.split("train"), table.split("test")).hits.mean())
    assert rows["rgb-stage1"]["difference"] == pytest.approx(hits[0] - hits[1])
    assert figures["settings"] == [{"key": "method.sinkhorn_epsilon", "one": 0.05, "other": 0.025}]
    assert "the &lt;other&gt;" in html and "the <other>" not in html


@pytest.mark.slow
def test_runs_with_different_test_videos_have_no_difference(run_dir: Path, store: ClipStore, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run_dir, other)
    table = features_of(store, 1)
    renamed = FeatureTable(np.char.add("x", table.ids), table.labels, table.sources, table.splits, table.features)
    save_features(feature_path(other / "evaluation", "rgb-stage1"), renamed)
    build_report(run_dir, store, other)
    figures = json.loads((run_dir / "report" / "report.json").read_text())["comparison"]
    rows = {row["key"]: row["difference"] for row in figures["rows"]}
    assert rows["rgb-stage1"] is None and rows["flow-stage1"] == 0


def test_a_run_to_compare_with_must_be_evaluated(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no evaluation.json to compare with; run `vicc-ray evaluate`"):
        build_report(run_dir, None, tmp_path / "nothing")


def test_the_latest_networks_of_a_run_are_compared_with_given_ones() -> None:
    run = ["rgb-random", "rgb-stage1", "rgb-stage2-1", "rgb-stage2-2", "flow-stage1", "rgb+flow"]
    given = ["rgb-random", "rgb-model", "flow-model", "rgb+flow"]
    assert _pairs(run, given) == [
        *(("rgb-random", "rgb-random"), ("rgb+flow", "rgb+flow")),
        *(("rgb-stage2-2", "rgb-model"), ("flow-stage1", "flow-model")),
    ]
    assert _pairs(run, run) == [(key, key) for key in run]


def test_the_published_recipe_has_no_differences() -> None:
    for recipe in ("ucf101-s3d", "ucf101-r2plus1d"):
        found = published_results(load_config(recipe, []), UCF101)
        assert found is not None and found["differences"] == []
        assert found["data"] == "UCF101, split 1"


def test_differences_from_the_published_setup_are_listed() -> None:
    changed = load_config("ucf101-s3d", ["schedule.rgb_epochs=40", "prepare.flow_method=dis"])
    found = published_results(changed, {"classes": 8, "train": 800, "test": 240})
    assert found is not None
    assert found["recall"] == {"rgb": 62.1, "flow": 59.7, "rgb+flow": 65.1}
    assert found["differences"] == [
        "other videos: 800 to train with and 240 to test with, of 8 classes, instead of 9,537 and 3,783 of 101",
        "prepare.flow_method is dis instead of tvl1",
        "schedule.rgb_epochs is 40 instead of 300",
    ]
    assert published_results(load_config("demo", []), UCF101) is None


def test_datasets_are_recognized_by_their_counts() -> None:
    hmdb51 = {"classes": 51, "train": 3570, "test": 1529}
    assert [getattr(known_data_set(d), "title", None) for d in (UCF101, hmdb51)] == [
        "UCF101, split 1",
        "HMDB51, split 1",
    ]
    assert known_data_set({**UCF101, "test": 3000}) is None and known_data_set(None) is None
    found = published_results(load_config("ucf101-s3d", []), hmdb51)
    assert found is not None and found["recall"] == {"rgb": 25.5} and found["differences"] == []


@pytest.mark.slow
def test_classes_are_shown_with_their_earlier_scores(run_dir: Path, store: ClipStore) -> None:
    page, _, figures = build(run_dir, store)
    table = json.loads((run_dir / "evaluation" / "evaluation.json").read_text())
    rows = {row["key"]: row for row in table["rows"]}
    found = figures["confusion"]
    assert [one["label"] for one in found["classes"]] == [one["label"] for one in rows["rgb-stage2-1"]["classes"]]
    for one, before in zip(found["classes"], rows["rgb-stage1"]["classes"], strict=True):
        assert one["before"] == before["recall_at_1"]
    assert [sum(row) for row in found["matrix"]] == [one["queries"] for one in found["classes"]]
    assert "confusion" in page.attributes("id")


def test_many_classes_are_reduced_to_the_most_confused_pairs() -> None:
    classes = [{"label": f"c{n}", "queries": 10, "recall_at_1": 0.5, "low": 0.2, "high": 0.8} for n in range(40)]
    confusion = [{"query": f"c{n}", "nearest": f"c{(n + 1) % 40}", "count": n % 9} for n in range(40)]
    row = {"key": "rgb-stage1", "name": "RGB", "classes": classes, "confusion": confusion}
    found = read_confusion({"rows": [row]})
    assert found is not None
    assert found["matrix"] is None and len(found["pairs"]) == 20
    assert found["pairs"][0]["share"] == 0.8


@pytest.mark.slow
def test_accuracy_is_shown_with_published_results(run_dir: Path, store: ClipStore) -> None:
    (run_dir / "classify").mkdir()
    row = {"name": "R+F, <fine-tuned>", "stream": "rgb+flow", "mode": "finetune", "chance": 0.125}
    row |= {"top1": 0.875, "top5": None, "low": 0.86, "high": 0.89}
    told = {"rows": [row], "notes": ["3 videos have no label"]}
    (run_dir / "classify" / "classification.json").write_text(json.dumps(told))
    page, html, figures = build(run_dir, store)
    section = html[html.index('id="classification"') : html.index('id="training_charts"')]
    assert re.search(r"87\.5.%</strong>", section) and "86.0 to 89.0" in section and "90.5 %" in section
    assert "R+F, <fine-tuned>" in page.text and "3 videos have no label." in page.text
    assert all(difference in page.text for difference in figures["reference_results"]["differences"])
