"""Pretraining of a backbone that is defined outside the package.

    python examples/own_backbone.py demo/store own-run

This file is its own plugin: it adds the backbone to the registry, here and in Ray's workers, which import the modules
that VICC_RAY_PLUGINS names. The same works for the command: VICC_RAY_PLUGINS=own_backbone vicc-ray run ...
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("VICC_RAY_PLUGINS", "own_backbone")  # before vicc_ray is imported

from torch import nn

from vicc_ray.models.backbones.base import Backbone
from vicc_ray.registry import BACKBONES, BackboneSpec

BACKBONES["own"] = BackboneSpec("own_backbone", "OwnBackbone", min_frames=2, min_pixels=16)


class OwnBackbone(Backbone):
    """Two strided 3-D convolutions; constructed with 3 channels for RGB and 2 for flow."""

    features = 32

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(in_channels, 16, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm3d(16),
            nn.ReLU(),
            nn.Conv3d(16, self.features, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm3d(self.features),
            nn.ReLU(),
        )


def main(store: str, run: str, *overrides: str) -> None:
    """Pretrain on a clip store by the recipe of the demo; ``overrides`` are settings such as schedule.cycles=1."""
    from vicc_ray import load_config, pretrain

    config = load_config("demo", ["model.backbone=own", *overrides])
    print("last checkpoint:", pretrain(config, store, Path(run)))


if __name__ == "__main__":
    main(*sys.argv[1:])
