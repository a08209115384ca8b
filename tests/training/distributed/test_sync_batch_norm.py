"""Synchronised batch norm: every norm of every backbone sees all workers' samples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.gloo import run_workers
from vicc_ray.models.backbones.base import build_backbone
from vicc_ray.registry import BACKBONES
from vicc_ray.training.distributed.collectives import rank, world_size
from vicc_ray.training.distributed.sync_batch_norm import convert_sync_batchnorm

COMPUTED = ("tiny", "r2plus1d-small")


def train_forward_and_backward() -> dict[str, Tensor]:
    """Of this worker's share of a batch: features and gradient of the clips; and the running statistics after it.

    In double precision: with a few values behind each statistic, rounding would be as large as what is looked for.
    """
    found = {}
    for name in COMPUTED:
        torch.manual_seed(0)
        spec, backbone = BACKBONES[name], convert_sync_batchnorm(build_backbone(name).double()).train()
        clips = torch.randn(4, 3, spec.min_frames, spec.min_pixels, spec.min_pixels, dtype=torch.double)
        share = clips.chunk(world_size())[rank()].requires_grad_()
        features = backbone(share).mean(dim=(2, 3, 4))
        features.pow(3).sum().backward()
        assert share.grad is not None
        found |= {f"{name} features": features.detach(), f"{name} gradient": share.grad}
        found |= {f"{name} {key}": value for key, value in backbone.named_buffers()}
    for name in BACKBONES:
        with torch.device("meta"):
            backbone = convert_sync_batchnorm(build_backbone(name))
        found[f"{name} plain norms"] = torch.tensor(sum(type(m) is nn.BatchNorm3d for m in backbone.modules()))
    return found


@pytest.mark.slow
def test_two_workers_compute_what_one_does(tmp_path: Path) -> None:
    alone = train_forward_and_backward()
    workers = run_workers(train_forward_and_backward, 2, tmp_path / "workers")
    for name, value in alone.items():
        parts = [found[name] for found in workers]
        if name.endswith("plain norms"):
            assert value > 0 and parts == [0, 0], name
        elif name.endswith(("features", "gradient")):
            torch.testing.assert_close(torch.cat(parts), value, msg=name)
        else:
            for part in parts:
                torch.testing.assert_close(part, value, msg=name)
