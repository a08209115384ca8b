"""Trials share a stage 1 if, and only if, it is the same to the bit."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pytest

from tests.sweep.made import sweep_of
from vicc_ray.config import Config
from vicc_ray.sweep.stage1 import stage1_key, stage1_of
from vicc_ray.training.run_folder import RunFolder
from vicc_ray.training.schedule import turns
from vicc_ray.video.entries import Entries, Entry

LATER = {
    **{"stage2.epsilon": 0.2, "stage2.prototypes": 20, "stage2.learning_rate": 0.1, "stage2.queue": 64},
    **{"schedule.alternation_period": 3, "schedule.stage2_cosine_epochs": 0, "schedule.last_flow_turn": True},
    **{"schedule.cycles": 4, "schedule.stage2_epochs": 7, "schedule.cross_stream": False},
    **{"name": "other", "ray.share": 0.3, "train.worker_cpus": 0.5, "train.evaluate_epochs": 3},
}
EARLIER = {
    **{"seed": 5, "method.epsilon": 0.2, "method.prototypes": 20, "optimiser.learning_rate": 0.1},
    **{"schedule.rgb_epochs": 3, "model.embedding": 16, "clip.flip": 0.1, "train.batch": 16},
    **{"train.validation_share": 0.4, "prepare.short_side": 64},
}


def entries(count: int = 3) -> Entries:
    rows = [Entry(f"{n}.mp4", "run", f"{n}", "train", f"{n:032x}", 20, 25.0, 32, 40, 0, n) for n in range(count)]
    return Entries(pa.Table.from_pylist([asdict(row) for row in rows]))


def trial(**values: object) -> Config:
    return sweep_of().trial(values)


def stage1(**values: object) -> Config:
    found = stage1_of(trial(**values))
    assert found is not None
    return found


@pytest.mark.parametrize("key", LATER)
def test_what_comes_later_does_not_part_them(key: str, tmp_path: Path) -> None:
    one, other = stage1(), stage1(**{key: LATER[key]})
    assert stage1_key(one, entries()) == stage1_key(other, entries())
    RunFolder(tmp_path).open(one)
    RunFolder(tmp_path).open(other)  # the one goes on where the other was


@pytest.mark.parametrize("key", EARLIER)
def test_what_stage_1_depends_on_parts_them(key: str) -> None:
    assert stage1_key(stage1(), entries()) != stage1_key(stage1(**{key: EARLIER[key]}), entries())


def test_other_videos_part_them() -> None:
    assert stage1_key(stage1(), entries(3)) != stage1_key(stage1(), entries(4))


def test_it_is_the_beginning_of_the_run() -> None:
    whole = trial(**{"stage2.epsilon": 0.2})
    begun = [turn for turn in turns(whole.schedule) if turn.stage == 1]
    assert turns(stage1(**{"stage2.epsilon": 0.2}).schedule) == begun


def test_a_run_of_one_stage_shares_nothing() -> None:
    assert stage1_of(sweep_of(fixed={"schedule.rgb_epochs": 0, "schedule.flow_epochs": 0}).trial({})) is None
    assert stage1_of(sweep_of(fixed={"schedule.cycles": 0}).trial({})) is None
