"""The alternation, the learning rate and the order of the videos."""

from __future__ import annotations

import numpy as np
import pytest

from vicc_ray.config import OptimizerConfig, ScheduleConfig
from vicc_ray.config.loader import load_config
from vicc_ray.errors import UserError
from vicc_ray.runs.schedule import build_phases, learning_rate, phase_of
from vicc_ray.training.data.batch_sampler import GlobalBatchSampler, Stage2Batch, per_rank_sizes

SCHEDULE = ScheduleConfig(
    rgb_epochs=3, flow_epochs=2, stage1_cosine_epochs=5, cycles=2, epochs_per_phase=4, stage2_cosine_epochs=4
)


def test_phases_alternate_and_cover_every_epoch_once() -> None:
    planned = build_phases(SCHEDULE)
    names = [phase.name for phase in planned]
    cycles = [f"{stream}-stage2-{cycle}" for cycle in (1, 2) for stream in ("rgb", "flow")]
    assert names == ["rgb-stage1", "flow-stage1", *cycles]
    covered = [phase_of(planned, epoch).name for epoch in range(planned[-1].last_epoch)]
    assert covered == [phase.name for phase in planned for _ in range(phase.epochs)]
    assert [phase.cross_stream for phase in planned] == [False, False, True, True, True, True]


def test_the_control_and_the_saved_flow_phase() -> None:
    changed = SCHEDULE.model_copy(update={"cross_stream": False, "final_flow_phase": False, "flow_epochs": 0})
    planned = build_phases(changed)
    assert [phase.name for phase in planned] == ["rgb-stage1", "rgb-stage2-1", "flow-stage2-1", "rgb-stage2-2"]
    assert not any(phase.cross_stream for phase in planned)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rgb_epochs": 0, "flow_epochs": 0, "cycles": 0}, "no epochs to train"),
        ({"stage1_cosine_epochs": 2}, "stage1_cosine_epochs: 2 given, but phase rgb-stage1 lasts 3"),
    ],
)
def test_schedules_that_cannot_be_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_phases(SCHEDULE.model_copy(update=change))


@pytest.mark.parametrize(
    ("period", "epochs", "final_flow_phase", "expected"),
    [
        (3, 12, True, {"rgb-stage2-1": 3, "flow-stage2-1": 3, "rgb-stage2-2": 3, "flow-stage2-2": 3}),
        (5, 12, True, {"rgb-stage2-1": 5, "flow-stage2-1": 5, "rgb-stage2-2": 2}),
        (12, 12, True, {"rgb-stage2-1": 12}),
        (20, 12, True, {"rgb-stage2-1": 12}),
        (6, 12, False, {"rgb-stage2-1": 6}),
    ],
)
def test_stage_2_may_end_after_a_number_of_epochs_however_they_alternate(
    period: int, epochs: int, final_flow_phase: bool, expected: dict[str, int]
) -> None:
    settings = {"cycles": 2, "epochs_per_phase": period, "stage2_max_epochs": epochs, "stage2_cosine_epochs": 0}
    schedule = SCHEDULE.model_copy(update={**settings, "final_flow_phase": final_flow_phase})
    found = [phase for phase in build_phases(schedule) if phase.stage == 2]
    assert {phase.name: phase.epochs for phase in found} == expected
    assert all(phase.cosine_epochs == phase.epochs for phase in found)


def test_cycles_that_do_not_fill_stage_2_are_refused() -> None:
    schedule = SCHEDULE.model_copy(update={"cycles": 2, "epochs_per_phase": 3, "stage2_max_epochs": 13})
    with pytest.raises(UserError, match=r"13 given, but 2 cycles .* have 12; raise schedule.cycles to 3"):
        build_phases(schedule)


def test_rate_follows_a_cosine_that_may_be_stopped_early() -> None:
    optimizer = OptimizerConfig(learning_rate=0.6, min_lr=0.0006)
    first = build_phases(SCHEDULE)[0]
    rates = [learning_rate(optimizer, first, epoch) for epoch in np.linspace(0, 3, 30)]
    assert rates[0] == 0.6
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] > 0.1  # 3 of 5 epochs: far from the end of the cosine
    assert learning_rate(optimizer, first, 5) == pytest.approx(0.0006)
    assert learning_rate(optimizer, first, 2.5) == pytest.approx((0.6 + 0.0006) / 2)


def test_warm_up_rises_from_zero_and_each_phase_starts_anew() -> None:
    optimizer = OptimizerConfig(learning_rate=1.0, min_lr=0.1, warmup_epochs=1)
    for phase in build_phases(SCHEDULE):
        assert learning_rate(optimizer, phase, phase.first_epoch) == 0
        assert learning_rate(optimizer, phase, phase.first_epoch + 0.5) == 0.5
        assert learning_rate(optimizer, phase, phase.first_epoch + 1) == 1.0


@pytest.mark.parametrize(("videos", "batch"), [(12, 4), (13, 4), (7, 7), (50, 33)])
def test_every_video_comes_once_an_epoch_in_a_new_order(videos: int, batch: int) -> None:
    sampler = GlobalBatchSampler(videos, batch, seed=3)
    steps = [sampler.step(k) for k in range(sampler.first_step(5))]
    order, epochs = (np.concatenate(parts) for parts in zip(*steps, strict=True))
    for epoch in range(5):
        assert sorted(order[epochs == epoch]) == list(range(videos))
    assert (np.diff(epochs) >= 0).all()
    assert len(order) - 5 * videos < batch
    assert not np.array_equal(order[epochs == 0], order[epochs == 1])
    again = GlobalBatchSampler(videos, batch, seed=3).step(3)
    assert all(np.array_equal(*pair) for pair in zip(steps[3], again, strict=True))


@pytest.mark.parametrize(("videos", "batch"), [(12, 4), (13, 4), (50, 33)])
def test_steps_and_epochs_are_counted_alike(videos: int, batch: int) -> None:
    sampler = GlobalBatchSampler(videos, batch, seed=0)
    for epoch in range(1, 6):
        step = sampler.first_step(epoch)
        assert sampler.epochs_before(step) == epoch > sampler.epochs_before(step - 1)
        assert sampler.epochs_before(step) == int(sampler.epoch_at(step))
    ends = [step for step in range(sampler.first_step(5) + 1) if sampler.ends_epoch(step)]
    assert ends == [sampler.first_step(epoch) for epoch in range(1, 6)]
    assert [sampler.first_step(sampler.epoch_at(step)) for step in range(40)] == list(range(40))


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 5, 8])
def test_workers_share_a_step_without_overlap(workers: int) -> None:
    sampler = GlobalBatchSampler(videos=50, batch=8, seed=0)
    shares = [sampler.rank_batch(6, rank, workers) for rank in range(workers)]  # of two epochs
    for together, whole in zip(zip(*shares, strict=True), sampler.step(6), strict=True):
        assert np.array_equal(np.concatenate(together), whole)
    sizes = [len(videos) for videos, _ in shares]
    assert sizes == per_rank_sizes(8, workers) == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 1


def test_more_workers_than_samples_are_refused() -> None:
    with pytest.raises(UserError, match=r"train\.num_workers: 9 workers given for a global batch of 8"):
        GlobalBatchSampler(videos=50, batch=8, seed=0).rank_batch(0, 0, 9)


TWO_BATCHES = [(12, 4, 3), (13, 4, 6), (13, 6, 4), (50, 33, 7), (7, 7, 2), (20, 8, 8)]
"""Videos, global batch of stage 1, of stage 2."""


def staged(videos: int, stage1: int, stage2: int, first_epoch: int = 3, drop_last: bool = False) -> GlobalBatchSampler:
    return GlobalBatchSampler(videos, stage1, 3, drop_last, Stage2Batch(first_epoch, stage2))


@pytest.mark.parametrize(("videos", "stage1", "stage2"), TWO_BATCHES)
def test_every_video_comes_once_an_epoch_also_where_stage_2_has_another_batch(
    videos: int, stage1: int, stage2: int
) -> None:
    sampler = staged(videos, stage1, stage2)
    boundary, end = sampler.first_step(3), sampler.first_step(6)
    steps = [sampler.step(k) for k in range(end)]
    assert [len(step[0]) for step in steps] == [stage1] * boundary + [stage2] * (end - boundary)
    assert [sampler.batch_at(k) for k in range(end)] == [len(step[0]) for step in steps]
    order, epochs = (np.concatenate(parts) for parts in zip(*steps, strict=True))
    for epoch in range(6):
        assert sorted(order[epochs == epoch]) == list(range(videos))
    assert (np.diff(epochs) >= 0).all()
    assert 0 <= len(order) - 6 * videos < stage2


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("videos", "stage1", "stage2"), TWO_BATCHES)
def test_steps_and_epochs_are_counted_alike_in_both_stages(
    videos: int, stage1: int, stage2: int, drop_last: bool
) -> None:
    sampler = staged(videos, stage1, stage2, drop_last=drop_last)
    firsts = [sampler.first_step(epoch) for epoch in range(8)]
    assert firsts == sorted(set(firsts))
    for epoch, step in enumerate(firsts[1:], 1):
        assert sampler.epochs_before(step) == epoch > sampler.epochs_before(step - 1)
    assert [step for step in range(firsts[-1] + 1) if sampler.ends_epoch(step)] == firsts[1:]
    positions = [sampler.epoch_at(step) for step in range(firsts[-1])]
    assert positions == sorted(set(positions))
    assert [sampler.epochs_before(step) for step in range(firsts[-1])] == [int(epoch) for epoch in positions]
    assert [sampler.first_step(epoch) for epoch in positions] == list(range(firsts[-1]))


@pytest.mark.parametrize("drop_last", [False, True])
def test_a_stage_2_with_the_batch_of_stage_1_has_the_steps_of_one_batch(drop_last: bool) -> None:
    one, two = GlobalBatchSampler(13, 4, 3, drop_last), staged(13, 4, 4, drop_last=drop_last)
    for step in range(one.first_step(6)):
        assert all(np.array_equal(*pair) for pair in zip(one.step(step), two.step(step), strict=True))
        assert one.epoch_at(step) == two.epoch_at(step)
    assert [one.first_step(epoch / 4) for epoch in range(24)] == [two.first_step(epoch / 4) for epoch in range(24)]


@pytest.mark.parametrize(("videos", "stage1", "stage2"), TWO_BATCHES)
def test_epochs_without_the_incomplete_step_are_whole_steps_of_their_own_permutation(
    videos: int, stage1: int, stage2: int
) -> None:
    """The samples are the first ones of the order that the epoch has without drop_last."""
    sampler, whole = staged(videos, stage1, stage2, drop_last=True), GlobalBatchSampler(videos, 1, seed=3)
    for epoch in range(6):
        batch = stage1 if epoch < 3 else stage2
        steps = range(sampler.first_step(epoch), sampler.first_step(epoch + 1))
        assert len(steps) == videos // batch
        taken = np.concatenate([sampler.step(step)[0] for step in steps])
        every = np.concatenate([whole.step(epoch * videos + n)[0] for n in range(videos)])
        assert np.array_equal(taken, every[: len(taken)])
        assert all((sampler.step(step)[1] == epoch).all() for step in steps)
        expected = [epoch + n / len(steps) for n in range(len(steps))]
        assert [sampler.epoch_at(step) for step in steps] == pytest.approx(expected, abs=1e-12)


def test_the_published_run_has_49_and_99_steps_an_epoch() -> None:
    config = load_config("ucf101-s3d")
    phases = build_phases(config.schedule)
    sampler = GlobalBatchSampler.of_run(9537, config, phases)
    assert [sampler.steps_per_epoch(phase) for phase in phases] == [49, 49, 99, 99, 99, 99]
    assert list(sampler.phase_ends(phases).values()) == [14700, 29400, 39300, 49200, 59100, 69000]


def test_a_run_goes_on_with_stage_2_after_stage_1_of_another_run_with_another_batch() -> None:
    """Its samples of the next epoch are skipped, but no step of stage 1 is repeated."""
    for videos, stage1, stage2 in TWO_BATCHES:
        for drop_last in (False, True):
            other = GlobalBatchSampler(videos, stage1 - 1, 0, drop_last)
            epoch = other.epoch_at(other.first_step(3))
            assert staged(videos, stage1, stage2, drop_last=drop_last).first_step(epoch) >= staged(
                videos, stage1, stage2, drop_last=drop_last
            ).first_step(3)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_share_the_steps_of_both_stages(workers: int) -> None:
    sampler = staged(50, 8, 3)
    for step, batch in ((0, 8), (sampler.first_step(4), 3)):
        shares = [sampler.rank_batch(step, rank, workers)[0] for rank in range(workers)]
        assert [len(share) for share in shares] == per_rank_sizes(batch, workers)
        assert np.array_equal(np.concatenate(shares), sampler.step(step)[0])


def test_too_few_videos_for_a_batch_are_refused() -> None:
    with pytest.raises(UserError, match=r"train\.global_batch_size: 8 given, but there are 5 training videos"):
        GlobalBatchSampler(videos=5, batch=8, seed=0)
    with pytest.raises(UserError, match=r"stage2\.global_batch_size: 8 given, but there are 5 training videos"):
        staged(videos=5, stage1=4, stage2=8)


def test_a_run_of_stage_2_alone_needs_videos_for_its_own_batch_only() -> None:
    sampler = staged(videos=5, stage1=8, stage2=2, first_epoch=0)
    assert [sampler.batch_at(step) for step in range(4)] == [2] * 4
    assert sampler.first_step(2) == 5
