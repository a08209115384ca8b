"""One step of classification: who learns at which rate, who is frozen, and that workers do not matter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.gloo import run_workers
from tests.training.fixtures import BATCH, make_batch, small_config
from vicc_ray.config import ClassifyConfig, ClipConfig
from vicc_ray.models.encoder import build_encoder
from vicc_ray.runs.checkpoint_state import load_model, load_progress, model_tensors, take_snapshot
from vicc_ray.runs.schedule import Phase
from vicc_ray.training.data.batch_sampler import rank_slice
from vicc_ray.training.distributed.collectives import rank, world_size
from vicc_ray.training.tasks.classifier_trainer import ClassifierTrainer

CLASSES, EPOCHS = 3, 4
LABELS = torch.arange(BATCH) % CLASSES


def trainer_of(mode: str, **settings: Any) -> ClassifierTrainer:
    """At its start, on a network of fresh weights; four epochs of one step."""
    rates = {f"{mode}_epochs": EPOCHS, f"{mode}_learning_rate": 0.01}
    config = small_config(classify={"mode": mode, "global_batch_size": BATCH, "dropout": 0.5, **rates, **settings})
    torch.manual_seed(1)
    encoder = build_encoder(config.model)
    trainer = ClassifierTrainer(config, torch.device("cpu"), encoder, LABELS, CLASSES)
    trainer.start_phase(Phase(0, mode, 0, config.classify.stream, False, 0, EPOCHS, EPOCHS))
    return trainer


def batch_of(epoch: int) -> dict[str, torch.Tensor]:
    """One noise clip of each video, other ones in every epoch, in an order of its own."""
    made = {name: value[:, :1] for name, value in make_batch(epoch).items()}
    order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(epoch))
    return {**made, "videos": order, "epochs": torch.full((BATCH,), epoch)}


def own_share(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    own = rank_slice(BATCH, rank(), world_size())
    return {name: value[own] for name, value in batch.items()}


def steps(trainer: ClassifierTrainer, first: int, count: int) -> list[float]:
    return [float(trainer.step(own_share(batch_of(k)), k)["loss"]) for k in range(first, first + count)]


def copies(trainer: ClassifierTrainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model_tensors(trainer).items()}


def test_a_probe_leaves_its_network_as_it_is_to_the_bit() -> None:
    trainer = trainer_of("probe")
    before = copies(trainer)
    steps(trainer, 0, 3)
    after = model_tensors(trainer)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {f"classifier.linear.{name}" for name in ("weight", "bias")} | {
        f"classifier.norm.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert all(p.grad is None for p in trainer.network.encoder.parameters())


def test_fine_tuning_moves_the_backbone_and_not_the_projection_head() -> None:
    trainer = trainer_of("finetune")
    before = copies(trainer)
    steps(trainer, 0, 1)
    after = model_tensors(trainer)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name for name in before if ".head." in name} & moved == set()
    weights = {name for name in before if name.endswith("weight") and ".head." not in name}
    assert weights <= moved


def test_the_backbone_learns_at_a_share_of_the_rate_and_weights_alone_decay() -> None:
    trainer = trainer_of("finetune", backbone_lr_mult=0.1, min_lr_ratio=0.5, warmup_epochs=2, weight_decay=0.25)
    seen = []
    for epoch in (1, 2, 4):
        rate = trainer.step(batch_of(0), epoch)["learning_rate"]
        groups = {id(p): group for group in trainer.optimizer.param_groups for p in group["params"]}
        for module, share in ((trainer.network.layers, 1.0), (trainer.network.encoder.backbone, 0.1)):
            for p in module.parameters():
                assert groups[id(p)]["lr"] == pytest.approx(share * float(rate))
                assert groups[id(p)]["weight_decay"] == (0.25 if p.ndim > 1 else 0.0)
        seen.append(rate)
    assert seen == pytest.approx([0.005, 0.01, 0.005])  # warm-up, full, a half at the end of the cosine
    assert len(groups) == len(trainer.parameters)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["probe", "finetune"])
def test_sgd_in_steps_is_the_recursion_of_its_definition(mode: str) -> None:
    """Momentum 0.9, weight decay on all parameters, a tenth of the rate from each milestone on."""
    published = {
        "optimizer": "sgd",
        "momentum": 0.9,
        "decay_scope": "all",
        "weight_decay": 1e-3,
        "lr_schedule": "steps",
    }
    steps_of_rate = {f"{mode}_learning_rate": 0.1, f"{mode}_lr_steps": [1, 3], "backbone_lr_mult": 1.0}
    trainer = trainer_of(mode, **published, **steps_of_rate)
    expected = [p.detach().double().clone() for p in trainer.parameters]
    velocities = [torch.zeros_like(p) for p in expected]
    for epoch, rate in enumerate([0.1, 0.01, 0.01, 0.001]):
        metrics = trainer.step(batch_of(epoch), epoch)
        assert metrics["learning_rate"] == pytest.approx(rate)
        for p, value, velocity in zip(trainer.parameters, expected, velocities, strict=True):
            assert p.grad is not None
            velocity.mul_(0.9).add_(p.grad.double() + 1e-3 * value)
            value.sub_(rate * velocity)
            torch.testing.assert_close(p.detach().double(), value, rtol=1e-4, atol=1e-6)


def test_training_clips_of_classification_may_have_their_own_augmentation() -> None:
    clip = ClipConfig(flip_prob=0.5, jitter_prob=0.8, hue=0.25)
    settings = ClassifyConfig(flip_prob=0.0, hue=0.1)
    own = settings.training_clip(clip)
    assert (own.flip_prob, own.hue, own.jitter_prob) == (0.0, 0.1, 0.8)
    assert ClassifyConfig().training_clip(clip) == clip


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"lr_schedule": "steps", "probe_lr_steps": [80, 60]}, "probe_lr_steps"),
        ({"finetune_lr_steps": [60]}, "lr_schedule"),
    ],
)
def test_steps_that_fall_or_have_no_use_are_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ClassifyConfig.model_validate(settings)


def test_guesses_of_a_new_layer_are_at_chance_and_the_loss_of_a_repeated_batch_falls() -> None:
    for mode in ("probe", "finetune"):
        trainer = trainer_of(mode, dropout=0.0)
        metrics = [trainer.step(batch_of(0), 0) for _ in range(30)]
        assert float(metrics[0]["loss"]) == pytest.approx(metrics[0]["chance_loss"], abs=0.1)
        assert float(metrics[-1]["loss"]) < 0.5 * float(metrics[0]["loss"])
        assert float(metrics[-1]["top1"]) == 1.0


def test_dropout_is_drawn_by_video_and_epoch_and_keeps_the_mean() -> None:
    trainer = trainer_of("finetune", dropout=0.75)
    kept = trainer._dropout_mask(batch_of(3))
    assert kept is not None
    assert set(kept.unique().tolist()) == {0.0, 4.0}
    assert float(kept.mean()) == pytest.approx(1.0, abs=0.1)
    reversed_batch = {name: value.flip(0) for name, value in batch_of(3).items()}
    assert torch.equal(trainer._dropout_mask(reversed_batch), kept.flip(0))
    assert not torch.equal(trainer._dropout_mask({**batch_of(3), "epochs": torch.full((BATCH,), 4)}), kept)
    assert trainer_of("probe")._dropout_mask(batch_of(0)) is None


@pytest.mark.parametrize("mode", ["probe", "finetune"])
def test_a_restored_classifier_goes_on_to_the_bit(tmp_path: Path, mode: str) -> None:
    undisturbed = trainer_of(mode)
    steps(undisturbed, 0, 2)
    take_snapshot(undisturbed, 2, 2.0, {}).write(tmp_path)
    expected = steps(undisturbed, 2, 2)
    restored = trainer_of(mode)
    load_model(tmp_path, restored)
    load_progress(tmp_path, restored)
    assert steps(restored, 2, 2) == expected
    after = model_tensors(restored)
    assert all(torch.equal(value, after[name]) for name, value in model_tensors(undisturbed).items())


def train() -> dict[str, torch.Tensor]:
    """What three steps on this worker's shares compute and leave behind.

    Weights hardly move: AdamW divides by the size of gradients, so that rounding alone moves those whose gradient is
    nothing else by as much as any other.
    """
    found = {}
    for mode, stream in (("probe", "rgb"), ("finetune", "rgb"), ("finetune", "flow")):
        trainer = trainer_of(mode, stream=stream, **{f"{mode}_learning_rate": 1e-6})
        for k in range(3):
            metrics = trainer.step(own_share(batch_of(k)), k)
            name = f"{mode} {stream} {k}"
            found |= {f"{name} {key}": torch.tensor(float(metrics[key])) for key in ("loss", "gradient_norm", "top1")}
            gradients = {key: p.grad for key, p in trainer.network.named_parameters() if p.grad is not None}
            assert len(gradients) == len(trainer.parameters)
            found |= {f"{name} gradient of {key}": value.clone() for key, value in gradients.items()}
        found |= {f"{mode} {stream} {key}": value.clone() for key, value in model_tensors(trainer).items()}
    return found


@pytest.mark.slow
def test_three_workers_with_uneven_shares_compute_what_one_does(tmp_path: Path) -> None:
    """They take 3, 3 and 2 of the samples, and each draws its own part of the dropout."""
    alone = train()
    results = run_workers(train, 3, tmp_path / "gloo")
    for found in results:
        assert found.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(found[name], value, atol=5e-5, rtol=1e-3, msg=name)
