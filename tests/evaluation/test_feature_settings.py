"""Features are kept while videos and settings are the same, wherever the store is, and removed otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.stored import Row, store_of, video
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config, PrepareConfig
from vicc_ray.errors import UserError
from vicc_ray.evaluation.feature_settings import check_store_of_run, remove_stale_features
from vicc_ray.evaluation.feature_store import FeatureTable, feature_names, feature_path, save_features
from vicc_ray.evaluation.results_io import RESULT_FILE
from vicc_ray.evaluation.retrieval_results import evaluate_features
from vicc_ray.reports.run import build_report
from vicc_ray.reports.run.comparison import compare

NAMES = ["rgb-random", "rgb-stage1"]
VIDEOS = [video(n, split="train" if n < 4 else "test") for n in range(6)]
OTHERS: dict[str, tuple[list[Row], PrepareConfig]] = {
    "added": ([*VIDEOS, video(9)], PrepareConfig(short_side=32)),
    "replaced": ([{**VIDEOS[0], "content": "f" * 32}, *VIDEOS[1:]], PrepareConfig(short_side=32)),
    "other label": ([{**VIDEOS[0], "label": "c"}, *VIDEOS[1:]], PrepareConfig(short_side=32)),
    "other split": ([{**VIDEOS[0], "split": "test"}, *VIDEOS[1:]], PrepareConfig(short_side=32)),
    "other preparation": (VIDEOS, PrepareConfig(short_side=64)),
}


def evaluated(out: Path, store: ClipStore) -> None:
    """Write what an evaluation leaves behind."""
    remove_stale_features(out, Config(), store, NAMES)
    columns = [np.array(store.entries.column(name)) for name in ("id", "label", "source", "split")]
    table = FeatureTable(*columns, features=np.ones((len(store.entries), 2)))
    for name in NAMES:
        save_features(feature_path(out, name), table)
    (out / RESULT_FILE).write_text("{}")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    evaluated(tmp_path / "run" / "evaluation", store_of(tmp_path / "store", VIDEOS))
    return tmp_path / "run"


def test_a_moved_store_counts_as_the_same(run: Path, tmp_path: Path) -> None:
    (tmp_path / "store").rename(tmp_path / "moved")
    for store in (ClipStore(tmp_path / "moved"), store_of(tmp_path / "in shards", VIDEOS[::-1], 3)):
        remove_stale_features(run / "evaluation", Config(), store, NAMES)
        assert feature_names(run / "evaluation") == NAMES
        assert (run / "evaluation" / RESULT_FILE).exists()
        check_store_of_run(run, store)


@pytest.mark.parametrize("other", OTHERS)
def test_features_of_other_videos_are_removed_and_not_reported(run: Path, tmp_path: Path, other: str) -> None:
    rows, prepare = OTHERS[other]
    store = store_of(tmp_path / "other", rows, settings=prepare)
    with pytest.raises(UserError, match=f"--store {store}.*{tmp_path / 'store'}.*vicc-ray evaluate"):
        build_report(run, store)
    remove_stale_features(run / "evaluation", Config(), store, NAMES)
    assert feature_names(run / "evaluation") == []
    assert not (run / "evaluation" / RESULT_FILE).exists()


def test_features_of_networks_outside_the_run_are_removed(run: Path, tmp_path: Path) -> None:
    """With --out, two runs can be evaluated into one folder."""
    remove_stale_features(run / "evaluation", Config(), ClipStore(tmp_path / "store"), ["rgb-random", "flow-stage1"])
    assert feature_names(run / "evaluation") == ["rgb-random"]


def test_runs_are_compared_by_query_if_the_videos_are_the_same(run: Path, tmp_path: Path) -> None:
    """Equal names are not enough."""
    evaluated(tmp_path / "copy" / "evaluation", store_of(tmp_path / "copied", VIDEOS))
    evaluated(tmp_path / "other" / "evaluation", store_of(tmp_path / "others", OTHERS["replaced"][0]))
    differences = []
    for folder in (tmp_path / "copy", tmp_path / "other"):
        for name in (run, folder):
            (name / "config.yaml").write_text("name: made\n")
            evaluate_features(name / "evaluation", Config())
        differences.append([row["difference"] for row in compare(run, folder)["rows"]])
    assert differences == [[0.0, 0.0], [None, None]]


def test_changed_settings_invalidate_features(run: Path, tmp_path: Path) -> None:
    config = Config.model_validate({"evaluate": {"max_windows_per_video": 3}})
    remove_stale_features(run / "evaluation", config, ClipStore(tmp_path / "store"), NAMES)
    assert feature_names(run / "evaluation") == []
