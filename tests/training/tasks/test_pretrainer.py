"""One step of the alternating training: who learns, who is frozen, and that workers do not matter."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from tests.gloo import run_workers
from tests.training.fixtures import BATCH, make_batch, small_config, started, steps
from vicc_ray.errors import UserError
from vicc_ray.runs.checkpoint_state import load_model, load_progress, model_tensors, take_snapshot
from vicc_ray.runs.schedule import build_phases
from vicc_ray.training.data.batch_sampler import rank_slice
from vicc_ray.training.distributed.collectives import rank, world_size
from vicc_ray.training.tasks.pretrainer import Pretrainer, check_queue

INSTANCES = small_config(method={"objective": "moco"}, schedule={"cross_stream": False})


def changed(before: dict[str, torch.Tensor], pretrainer: Pretrainer) -> set[str]:
    """Which of rgb.encoder, rgb.prototypes, flow.encoder, flow.prototypes moved."""
    after = model_tensors(pretrainer)
    return {".".join(name.split(".")[:2]) for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("phase", ["rgb-stage1", "flow-stage1", "rgb-stage2-1", "flow-stage2-1"])
def test_only_the_stream_of_the_phase_moves(phase: str) -> None:
    pretrainer = started(small_config(), phase)
    before = {name: value.clone() for name, value in model_tensors(pretrainer).items()}
    steps(pretrainer, 1)
    stream = phase.split("-")[0]
    assert changed(before, pretrainer) == {f"{stream}.encoder", f"{stream}.prototypes"}


def test_frozen_prototypes_stay_while_the_encoder_moves() -> None:
    pretrainer = started(small_config(method={"freeze_prototypes_epochs": 1, "queue_size": 0}), "rgb-stage1")
    before = {name: value.clone() for name, value in model_tensors(pretrainer).items()}
    steps(pretrainer, 1)
    moved = changed(before, pretrainer)
    assert "rgb.encoder" in moved
    torch.testing.assert_close(model_tensors(pretrainer)["rgb.prototypes.weight"], before["rgb.prototypes.weight"])


def test_metrics_show_when_the_queue_starts_and_the_prototypes_are_trained() -> None:
    """Two steps an epoch: the queue starts with the second epoch, the prototypes are trained from the third on."""
    method = {"queue_start_epoch": 1, "freeze_prototypes_epochs": 2}
    pretrainer = started(small_config(method=method), "rgb-stage1")
    metrics = [pretrainer.step(make_batch(k), k / 2) for k in range(6)]
    assert [m["queue_count"] for m in metrics] == [0, 0, 0, BATCH, 2 * BATCH, 2 * BATCH]
    assert [m["prototypes_frozen"] for m in metrics] == [1, 1, 1, 1, 0, 0]


@pytest.mark.slow
def test_loss_of_a_repeated_batch_falls() -> None:
    config = small_config(optimizer={"name": "adamw", "learning_rate": 3e-3}, method={"queue_size": 0})
    pretrainer = started(config, "rgb-stage2-1")
    epoch = pretrainer.phase.first_epoch
    losses = [float(pretrainer.step(make_batch(0), epoch)["loss"]) for _ in range(30)]
    assert min(losses[-5:]) < 0.8 * losses[0]


def test_a_queue_that_no_step_fits_is_refused() -> None:
    with pytest.raises(UserError, match=r"method\.queue_size: 12 given"):
        Pretrainer(small_config(method={"queue_size": 12}), torch.device("cpu"))


def test_the_queue_of_each_stage_is_held_against_the_batch_of_that_stage() -> None:
    check_queue(small_config(stage2={"global_batch_size": 6, "queue_size": 12}))
    check_queue(small_config(stage2={"global_batch_size": 4}))  # and the queue of stage 1, of 16
    wrong = {
        r"^stage2\.queue_size: 16 given; in stage 2 .* stage2\.global_batch_size \(6\)": {
            "global_batch_size": 6,
            "queue_size": 16,
        },
        r"^stage2\.queue_size: 12 given; in stage 2 .* train\.global_batch_size \(8\)": {"queue_size": 12},
        r"^method\.queue_size: 16 given; in stage 2 .* stage2\.global_batch_size \(6\)": {"global_batch_size": 6},
    }
    for message, stage2 in wrong.items():
        with pytest.raises(UserError, match=message):
            check_queue(small_config(stage2=stage2))


@pytest.mark.slow
def test_stage_2_follows_its_own_settings_and_stage_1_does_not() -> None:
    """As if they had been those of the whole run from the beginning of stage 2 on."""
    own = {
        "temperature": 0.3,
        "sinkhorn_epsilon": 0.2,
        "queue_size": 0,
        "freeze_prototypes_epochs": 1,
        "learning_rate": 0.01,
        "precision": "bf16",
    }
    rates, train = {"learning_rate": own["learning_rate"]}, {"precision": own["precision"]}
    method = {name: value for name, value in own.items() if name not in {**rates, **train}}
    plain, own_stage2 = small_config(), small_config(stage2=own)
    assert steps(started(own_stage2, "rgb-stage1"), 3) == steps(started(plain, "rgb-stage1"), 3)
    as_if = small_config(method=method, optimizer=rates, train=train)
    cross = steps(started(own_stage2, "rgb-stage2-1"), 3)
    assert cross == steps(started(as_if, "rgb-stage2-1"), 3)
    assert cross != steps(started(plain, "rgb-stage2-1"), 3)


@pytest.mark.slow
def test_another_number_of_prototypes_in_stage_2_draws_them_anew_and_is_restored(tmp_path: Path) -> None:
    pretrainer = started(small_config(stage2={"num_prototypes": 9}), "flow-stage1")
    steps(pretrainer, 1)
    stage1 = {name: value.clone() for name, value in model_tensors(pretrainer).items()}
    planned = build_phases(pretrainer.config.schedule)
    pretrainer.start_phase(planned[2])
    assert changed(stage1, pretrainer) == {"rgb.prototypes", "flow.prototypes"}
    assert model_tensors(pretrainer)["flow.prototypes.weight"].shape == (9, 16)
    steps(pretrainer, 1)
    take_snapshot(pretrainer, 3, 3.0, {}).write(tmp_path)
    restored = Pretrainer(pretrainer.config, torch.device("cpu"))
    load_model(tmp_path, restored)
    restored.start_phase(planned[2])
    load_progress(tmp_path, restored)
    assert steps(restored, 2) == steps(pretrainer, 2)
    before = model_tensors(pretrainer)["flow.prototypes.weight"].clone()
    pretrainer.start_phase(planned[3])
    assert torch.equal(model_tensors(pretrainer)["flow.prototypes.weight"], before)


def test_the_gradient_norm_is_that_of_all_trained_parameters() -> None:
    pretrainer = started(small_config(), "rgb-stage2-1")
    norm = pretrainer.step(make_batch(0), pretrainer.phase.first_epoch)["gradient_norm"]
    trained = [*pretrainer.encoders["rgb"].parameters(), pretrainer.prototypes["rgb"].weight]
    flat = torch.cat([p.grad.flatten() for p in trained if p.grad is not None])
    assert float(norm) == pytest.approx(float(flat.norm()), rel=1e-5)


def test_embeddings_of_the_step_are_kept_for_a_look_at_their_health() -> None:
    pretrainer = started(small_config(), "rgb-stage2-1")
    steps(pretrainer, 1)
    assert pretrainer.last_embeddings.shape == (BATCH, 16)
    assert not pretrainer.last_embeddings.requires_grad


def test_a_gradient_that_is_not_finite_shows_in_its_norm_while_the_loss_is_still_fine() -> None:
    pretrainer = started(small_config(), "rgb-stage1")
    hook = pretrainer.encoders["rgb"].head[0].weight.register_hook(lambda gradient: gradient * float("inf"))
    metrics = [pretrainer.step(make_batch(0), 0)]
    hook.remove()
    metrics.append(pretrainer.step(make_batch(1), 0))
    assert [math.isfinite(m["loss"]) for m in metrics] == [True, False]
    assert [math.isfinite(m["gradient_norm"]) for m in metrics] == [False, False]


def own_share(batch: dict[str, torch.Tensor], size: int) -> dict[str, torch.Tensor]:
    own = rank_slice(size, rank(), world_size())
    return {name: value[:size][own] for name, value in batch.items()}


def train_three_steps() -> dict[str, torch.Tensor]:
    """What three steps on this worker's shares compute and leave behind, in three phases; stage 2 has another batch."""
    found = {}
    both = small_config(stage2={"global_batch_size": 6, "queue_size": 12})
    for phase, config in (("rgb-stage1", both), ("flow-stage2-1", both), ("rgb-stage1", INSTANCES)):
        pretrainer, size = started(config, phase), 6 if "stage2" in phase else BATCH
        epoch, name = pretrainer.phase.first_epoch, f"{config.method.objective} {phase}"
        metrics = [pretrainer.step(own_share(make_batch(k), size), epoch + k / 10) for k in range(3)]
        found |= {f"{name} {key}": torch.tensor([float(m[key]) for m in metrics]) for key in ("loss", "gradient_norm")}
        tensors = {**model_tensors(pretrainer), **pretrainer.progress_tensors()}
        found |= {f"{name} {key}": value.clone() for key, value in tensors.items()}
    return found


def train_in_groups(folder: str) -> dict[str, dict[str, torch.Tensor]]:
    """The same as two, three and four of four processes, since importing torch anew takes longer than the steps."""
    number, found = rank(), {}
    for workers in (2, 3, 4):
        if dist.is_initialized():
            dist.destroy_process_group()
        if number < workers:
            meet = f"file://{folder}/meet-{workers}"
            dist.init_process_group("gloo", init_method=meet, rank=number, world_size=workers)
            found[f"{workers} workers"] = train_three_steps()
    return found


@pytest.mark.slow
def test_any_number_of_workers_computes_the_same(tmp_path: Path) -> None:
    """Three take 3, 3 and 2 of the samples."""
    alone = train_three_steps()
    results = run_workers(train_in_groups, 4, tmp_path / "gloo", str(tmp_path))
    assert [len(found) for found in results] == [3, 3, 2, 1]
    for workers, found in ((workers, found) for result in results for workers, found in result.items()):
        for name, value in alone.items():
            torch.testing.assert_close(found[name], value, atol=5e-5, rtol=1e-5, msg=f"{workers}: {name}")
