"""Tables of few videos: no figure that any network would have, and the effect of centering on the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vicc_ray.cli.evaluate import print_retrieval
from vicc_ray.config import Config, EvaluateConfig
from vicc_ray.evaluation.chance_level import GalleryCounts
from vicc_ray.evaluation.feature_store import FeatureFolder, FeatureTable, feature_path, save_features
from vicc_ray.evaluation.retrieval_results import evaluate_features
from vicc_ray.export.model_card import card_results
from vicc_ray.pipelines.sweep.final_eval import score_on_test_videos
from vicc_ray.reports.run import build_report
from vicc_ray.reports.run.comparison import compare
from vicc_ray.reports.run.gallery import find_neighbors
from vicc_ray.sweep.trial import TrialDir

CONFIG = Config()
NAMES = ("rgb-random", "rgb-stage1")


def make_table(train: list[str], test: list[str], sources: list[str] | None = None, seed: int = 0) -> FeatureTable:
    """Features well separated by class, around a common mean far from zero."""
    labels = [*train, *test]
    rng = np.random.default_rng(seed)
    directions = dict(
        zip(sorted(set(labels)), 3 * np.random.default_rng(9).normal(size=(len(labels), 16)), strict=False)
    )
    features = 20 + np.stack([directions[label] + rng.normal(size=16) for label in labels])
    splits = ["train"] * len(train) + ["test"] * len(test)
    ids = [f"{n:03d}" for n in range(len(labels))]
    return FeatureTable(ids, labels, sources or ids, splits, features)


def evaluated(folder: Path, table: FeatureTable, exclude_same_source: bool = False) -> dict[str, Any]:
    for name in NAMES:
        save_features(feature_path(folder, name), table)
    return evaluate_features(folder, Config(evaluate=EvaluateConfig(exclude_same_source=exclude_same_source)))


def kinds(result: dict[str, Any]) -> list[str]:
    return [warning["kind"] for warning in result["warnings"]]


def reported_ks(result: dict[str, Any]) -> list[str]:
    """The k whose recall is reported, the same in all rows."""
    (ks,) = {tuple(k for k, share in row["recall"].items() if share is not None) for row in result["rows"]}
    return list(ks)


@pytest.mark.parametrize(
    ("classes", "videos", "ks"),
    [
        (6, 6, ["1", "5"]),  # a video a class: k = 5 still leaves one out
        (2, 20, ["1", "5", "10"]),  # 10 of the 20 are of the other class, so 11 and more find one's own
        (4, 60, ["1", "5", "10", "20"]),
    ],
)
def test_recall_is_reported_up_to_the_k_at_which_any_network_hits(
    tmp_path: Path, classes: int, videos: int, ks: list[str]
) -> None:
    names = [f"class{n % classes}" for n in range(videos)]
    result = evaluated(tmp_path, make_table(names, names))
    assert reported_ks(result) == ks
    assert kinds(result)[0] == "omitted_recall" and str(50) in result["warnings"][0]["text"]
    chance = result["dataset"]["chance_at"]
    assert all(chance[k] < 1 for k in ks) and chance["50"] == 1


def test_excluding_a_source_can_make_the_gallery_smaller_than_k(tmp_path: Path) -> None:
    names = [f"class{n % 8}" for n in range(32)]
    sources = ["film"] * 28 + ["other"] * 4 + ["film"] * 8
    assert reported_ks(evaluated(tmp_path / "all", make_table(names, names[:8], sources))) == ["1", "5", "10", "20"]
    result = evaluated(tmp_path / "apart", make_table(names, names[:8], sources), exclude_same_source=True)
    assert reported_ks(result) == ["1"]  # four videos are left to find
    assert "unseen_classes" in kinds(result)


@pytest.mark.parametrize(
    ("train", "test"),
    [(["a"] * 6, ["a"] * 4), (["a"], ["a", "b"]), (["a"] * 4, ["b"] * 3)],
    ids=["one class", "one training video", "no class in common"],
)
def test_scores_that_cannot_vary_are_not_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], train: list[str], test: list[str]
) -> None:
    run = tmp_path / "run"
    (run / "evaluation").mkdir(parents=True)
    (run / "config.yaml").write_text("name: few\n")
    result = evaluated(run / "evaluation", make_table(train, test))
    assert reported_ks(result) == [] and result["gain"] is None and "omitted_recall" in kinds(result)
    for row in result["rows"]:
        assert (row["low"], row["high"]) == (None, None)
        assert all(one["recall_at_1"] is None for one in row["classes"])
    print_retrieval(result)
    printed = capsys.readouterr().out
    assert "100.0" not in printed and " 0.0" not in printed and result["warnings"][0]["text"] in printed
    page = build_report(run, None).read_text()
    table = page[page.index('<table class="recall">') : page.index('<tr class="chance">')]
    assert "%" not in table.split("<tbody>")[1].replace("%;", "") and result["warnings"][0]["text"] in page
    assert card_results(run, "rgb-stage1")["warnings"] == result["warnings"]
    assert {row["difference"] for row in compare(run, run)["rows"]} == {None}
    assert np.isnan(score_on_test_videos(TrialDir(tmp_path)))


def test_a_single_test_video_is_zero_after_centering_and_the_other_centering_is_reported(tmp_path: Path) -> None:
    result = evaluated(tmp_path, make_table(["a", "b", "c"] * 8, ["c"]))
    assert reported_ks(result) == [] and kinds(result) == ["omitted_recall", "centering"]
    assert "zeros" in result["warnings"][-1]["text"] and "RGB after stage 1 100.0 %" in result["warnings"][-1]["text"]


def test_one_test_video_is_shown_with_its_nearest_neighbors(tmp_path: Path) -> None:
    evaluated(tmp_path, make_table(["a", "b", "c"] * 8, ["c"]))
    shown = find_neighbors(FeatureFolder(tmp_path), {"exclude_same_source": False, "seed": 0, "cross_stream": True})
    (query,) = shown["queries"]
    assert {neighbor["label"] for neighbor in query["neighbors"][0]} == {"c"}


def test_centering_hurts_test_videos_of_a_single_class(tmp_path: Path) -> None:
    result = evaluated(tmp_path, make_table(["a", "b", "c", "d"] * 10, ["c"] * 40))
    (row,) = (row for row in result["rows"] if row["key"] == "rgb-stage1")
    assert row["recall"]["1"] < 0.6
    (text,) = (warning["text"] for warning in result["warnings"] if warning["kind"] == "centering")
    assert f"RGB after stage 1 100.0 %, not {100 * row['recall']['1']:.1f} %" in text


@pytest.mark.parametrize(
    ("test", "warned"),
    [
        (["a", "b", "c", "d"] * 8, False),
        (["a"] * 60 + ["b", "c", "d"], True),  # many, of other shares than in training
        (["a"] * 9 + ["b"], True),  # few
    ],
)
def test_centering_is_reported_where_it_changes_the_score(tmp_path: Path, test: list[str], warned: bool) -> None:
    result = evaluated(tmp_path, make_table(["a", "b", "c", "d"] * 20, test))
    assert ("centering" in kinds(result)) is warned


def test_a_class_without_training_videos_has_no_score(tmp_path: Path) -> None:
    result = evaluated(tmp_path, make_table(["a", "b", "c"] * 20, ["a", "b", "c", "d"] * 10))
    by_label = {one["label"]: one["recall_at_1"] for one in result["rows"][1]["classes"]}
    assert by_label["d"] is None and None not in (by_label["a"], by_label["b"], by_label["c"])
    assert "10 of 40" in next(w["text"] for w in result["warnings"] if w["kind"] == "unseen_classes")


def test_chance_at_k_equals_random_draws() -> None:
    rng = np.random.default_rng(0)
    train, none = np.array(["a"] * 7 + ["b"] * 3 + ["c"] * 20), np.full(30, "")
    choice = GalleryCounts.of((train, none), (np.array(["a", "b", "x", ""]), np.full(4, "")))
    for k in (1, 3, 8):
        draws = np.array([rng.choice(train, k, replace=False) for _ in range(4000)])
        expected = [(draws == label).any(1).mean() for label in ("a", "b", "x")]
        assert choice.chance(k) == pytest.approx(expected, abs=0.03)
