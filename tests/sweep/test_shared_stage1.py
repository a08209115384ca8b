"""Trials share a stage 1 if, and only if, it is the same to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stored import store_of, video
from tests.sweep.example_sweep import sweep_of
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config, PrepareConfig
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.runs.schedule import build_phases
from vicc_ray.sweep.shared_stage1 import stage1_key, stage1_of

LATER = {
    **{
        "stage2.sinkhorn_epsilon": 0.2,
        "stage2.num_prototypes": 20,
        "stage2.learning_rate": 0.1,
        "stage2.queue_size": 64,
    },
    **{"schedule.epochs_per_phase": 3, "schedule.stage2_cosine_epochs": 0, "schedule.final_flow_phase": True},
    **{"schedule.cycles": 4, "schedule.stage2_max_epochs": 7, "schedule.cross_stream": False},
    **{"name": "other", "ray.share": 0.3, "train.cpus_per_worker": 0.5, "train.validate_every_epochs": 3},
}
EARLIER = {
    **{"seed": 5, "method.sinkhorn_epsilon": 0.2, "method.num_prototypes": 20, "optimizer.learning_rate": 0.1},
    **{"schedule.rgb_epochs": 3, "model.embed_dim": 16, "clip.flip_prob": 0.1, "train.global_batch_size": 16},
    **{"train.validation_fraction": 0.4, "prepare.short_side": 64},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    return store_of(tmp_path_factory.mktemp("stores") / "one", map(video, range(3)))


def trial(**values: object) -> Config:
    return sweep_of().trial(values)


def stage1(**values: object) -> Config:
    found = stage1_of(trial(**values))
    assert found is not None
    return found


@pytest.mark.parametrize("key", LATER)
def test_settings_of_stage_2_do_not_change_the_shared_stage_1(key: str, store: ClipStore, tmp_path: Path) -> None:
    one, other = stage1(), stage1(**{key: LATER[key]})
    assert stage1_key(one, store) == stage1_key(other, store)
    RunDir(tmp_path).open(one)
    RunDir(tmp_path).open(other)  # the one goes on where the other was


@pytest.mark.parametrize("key", EARLIER)
def test_settings_of_stage_1_change_the_shared_stage_1(key: str, store: ClipStore) -> None:
    assert stage1_key(stage1(), store) != stage1_key(stage1(**{key: EARLIER[key]}), store)


def test_other_videos_change_the_shared_stage_1_and_another_path_does_not(store: ClipStore, tmp_path: Path) -> None:
    more = store_of(tmp_path / "more", map(video, range(4)))
    otherwise = store_of(tmp_path / "otherwise", map(video, range(3)), settings=PrepareConfig(short_side=64))
    moved = store_of(tmp_path / "moved", map(video, range(3)), shards=2)
    keys = [stage1_key(stage1(), it) for it in (store, more, otherwise, moved)]
    assert len(set(keys)) == 3 and keys[0] == keys[3]


def test_shared_stage_1_is_a_prefix_of_the_run() -> None:
    whole = trial(**{"stage2.sinkhorn_epsilon": 0.2})
    begun = [phase for phase in build_phases(whole.schedule) if phase.stage == 1]
    assert build_phases(stage1(**{"stage2.sinkhorn_epsilon": 0.2}).schedule) == begun


def test_a_single_stage_run_shares_nothing() -> None:
    assert stage1_of(sweep_of(overrides={"schedule.rgb_epochs": 0, "schedule.flow_epochs": 0}).trial({})) is None
    assert stage1_of(sweep_of(overrides={"schedule.cycles": 0}).trial({})) is None
