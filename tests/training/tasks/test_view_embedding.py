"""How the two clips pass through the trained network: what batch norm sees, and which of them has a gradient."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.func import functional_call

from tests.gloo import run_workers
from tests.training.fixtures import BATCH, make_batch, small_config, started
from vicc_ray.config import Stream
from vicc_ray.runs.checkpoint_state import model_tensors
from vicc_ray.training.data.batch_sampler import rank_slice
from vicc_ray.training.distributed.collectives import rank, world_size
from vicc_ray.training.distributed.permute_samples import draw_permutation
from vicc_ray.training.tasks.pretrainer import Pretrainer

LOCAL: dict[str, Any] = {"batch_norm": "local"}
FIRST = {"clip_forward": "separate", "gradient_clips": "first"}
PHASES = ("rgb-stage1", "flow-stage2-1")
PUBLISHED = small_config(train=LOCAL, method=FIRST)
EPOCH = 0.25
"""Position of the step within its phase."""


def one_step(pretrainer: Pretrainer, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Loss, gradients, running statistics and queue after a step."""
    metrics = pretrainer.step(batch, pretrainer.phase.first_epoch + EPOCH)
    encoder = pretrainer.encoders[pretrainer.phase.stream]
    return {
        "loss": torch.as_tensor(metrics["loss"]),
        **_gradients(encoder, pretrainer.prototypes[pretrainer.phase.stream]),
        **{name: value.clone() for name, value in encoder.named_buffers()},
        "queue": pretrainer.queue.rows.clone(),
    }


def _gradients(encoder: nn.Module, prototypes: nn.Module) -> dict[str, Tensor]:
    named = [*encoder.named_parameters(), *prototypes.named_parameters(prefix="prototypes")]
    return {f"gradient of {name}": p.grad.clone() for name, p in named if p.grad is not None}


def steps_of_this_worker() -> dict[str, Tensor]:
    """A step of each phase on this worker's samples, and everything that a checkpoint would save after it."""
    own, found = rank_slice(BATCH, rank(), world_size()), {}
    for phase in PHASES:
        pretrainer = started(PUBLISHED, phase)
        batch = {name: value[own] for name, value in make_batch(0).items()}
        found |= {f"{phase} {name}": value for name, value in one_step(pretrainer, batch).items()}
        found |= {f"{phase} saved {name}": value.clone() for name, value in model_tensors(pretrainer).items()}
    return found


def steps_in_groups(folder: str) -> dict[str, dict[str, Tensor]]:
    """The same as two and as three of three processes."""
    number, found = rank(), {}
    for workers in (2, 3):
        if dist.is_initialized():
            dist.destroy_process_group()
        if number < workers:
            meet = f"file://{folder}/meet-{workers}"
            dist.init_process_group("gloo", init_method=meet, rank=number, world_size=workers)
            found[str(workers)] = steps_of_this_worker()
    return found


def expected(phase: str, workers: int) -> dict[str, Tensor]:
    """The step written out in one process: each worker's first clips, then the second clips that it is sent.

    All workers start from the same running statistics. The network's statistics are the mean of theirs.
    """
    pretrainer = started(PUBLISHED, phase)
    stream, epoch = pretrainer.phase.stream, pretrainer.phase.first_epoch + EPOCH
    encoder, batch = pretrainer.encoders[stream], make_batch(0)
    first, second = (network_input(pretrainer, batch, stream, clip) for clip in (0, 1))
    order = draw_permutation(PUBLISHED.seed, epoch, BATCH)
    at_start = dict(encoder.named_buffers())
    z_first, z_second, statistics = [], torch.empty(BATCH, 16), []
    for worker in range(workers):
        own, buffers = rank_slice(BATCH, worker, workers), deepcopy(at_start)
        z_first.append(functional_call(encoder, buffers, (first[own],)))
        with torch.no_grad():
            z_second[order[own]] = functional_call(encoder, buffers, (second[order[own]],))
        statistics.append(buffers)
    z = [torch.cat(z_first), z_second]
    if pretrainer.objective.frozen_encoder is not None:
        other, frozen = pretrainer.objective.frozen_encoder
        with torch.no_grad():
            z += [frozen(network_input(pretrainer, batch, other, clip)) for clip in (0, 1)]
    views = torch.stack(z)
    loss, _ = pretrainer.objective.loss(views, views.detach(), slice(0, BATCH), epoch)
    loss.backward()
    pretrainer.objective.after_step()
    return {
        "loss": loss.detach(),
        **_gradients(encoder, pretrainer.prototypes[stream]),
        **{name: torch.stack([one[name].float() for one in statistics]).mean(dim=0) for name in at_start},
        "queue": pretrainer.queue.rows.clone(),
    }


def network_input(pretrainer: Pretrainer, batch: dict[str, Tensor], stream: Stream, clip: int) -> Tensor:
    """Input of one clip of each sample."""
    appearance = batch["appearance"][:, clip] if stream == "rgb" else None
    return pretrainer.embed_views.to_input[stream](batch[stream][:, clip], appearance)


@pytest.mark.slow
def test_local_batch_norm_is_of_a_workers_own_samples_and_of_each_clip_by_itself(tmp_path: Path) -> None:
    """Loss, gradients, statistics and the queue, which holds the embeddings of all views in their order."""
    results = run_workers(steps_in_groups, 3, tmp_path / "gloo", str(tmp_path))
    assert [list(found) for found in results] == [["2", "3"], ["2", "3"], ["3"]]
    for workers in (2, 3):
        of_all = [found[str(workers)] for found in results if str(workers) in found]
        for phase in PHASES:
            wanted = expected(phase, workers)
            assert wanted["backbone.layers.0.1.num_batches_tracked"] == 2
            for name, value in wanted.items():
                found = of_all[0][f"{phase} {name}"].to(value.dtype)
                error = (found.double() - value).norm() / value.double().norm().clamp(min=1e-6)
                assert error < 5e-3, f"{workers} workers, {name}: {error}"
        for found in of_all[1:]:
            assert all(torch.equal(value, of_all[0][name]) for name, value in found.items())


def test_what_batch_norm_sees_changes_the_loss() -> None:
    """So the equality with the step written out says something."""
    losses = {
        name: float(one_step(started(config, "rgb-stage1"), make_batch(0))["loss"])
        for name, config in {"separate": PUBLISHED, "joint": small_config()}.items()
    }
    assert abs(losses["separate"] - losses["joint"]) > 1e-4
    assert abs(float(expected("rgb-stage1", 2)["loss"]) - losses["separate"]) > 1e-4


def with_fixed_statistics(phase: str, **method: str) -> Pretrainer:
    """A pretrainer whose batch norms use their running statistics."""
    pretrainer = started(small_config(train=LOCAL, method=method), phase)
    for module in pretrainer.encoders[pretrainer.phase.stream].modules():
        if isinstance(module, nn.BatchNorm3d):
            module.eval()
    return pretrainer


@pytest.mark.parametrize("phase", PHASES)
def test_without_statistics_of_the_batch_the_loss_is_that_of_both_clips_together(phase: str) -> None:
    """Prototypes too learn from all terms."""
    both = one_step(with_fixed_statistics(phase), make_batch(0))
    first = one_step(with_fixed_statistics(phase, **FIRST), make_batch(0))
    for name in ("loss", "queue", "gradient of prototypes.weight"):
        torch.testing.assert_close(first[name], both[name], atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize("forward", ["joint", "separate"])
def test_the_gradient_of_the_first_clips_and_that_of_the_second_sum_to_that_of_both(forward: str) -> None:
    """The loss does not change if the clips change places."""
    method = {"clip_forward": forward, "gradient_clips": "first"}
    batch = make_batch(0)
    swapped = {name: value.flip(1) for name, value in batch.items()}
    first, second = (one_step(with_fixed_statistics("rgb-stage1", **method), clips) for clips in (batch, swapped))
    both = one_step(with_fixed_statistics("rgb-stage1", clip_forward=forward), batch)
    names = [name for name in both if name.startswith("gradient of") and "prototypes" not in name]
    assert len(names) > 10
    for name in names:
        torch.testing.assert_close(first[name] + second[name], both[name], atol=1e-6, rtol=1e-3, msg=name)
    assert not torch.allclose(first[names[0]], both[names[0]], rtol=1e-2, atol=0)
