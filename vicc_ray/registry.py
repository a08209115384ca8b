"""Registries of backbones, objectives and trackers. A new one is a file and a line in a table below.

This module imports nothing of the package and no torch: the configuration validates names with it, and processes that
only decode videos should not wait for torch.

Code outside the package registers through plugins. The environment variable :data:`PLUGINS` names modules, separated by
commas, that add to the tables. They are imported with the configuration, and so may import of this package only this
module and :mod:`vicc_ray.models.backbones.base`. Ray's workers inherit the variable, so they know the same names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

PLUGINS = "VICC_RAY_PLUGINS"
"""Name of the environment variable."""


class BackboneSpec(NamedTuple):
    """Location of a backbone, and the smallest clip that gives a non-empty output.

    The defaults are the smallest clip that the configuration allows (:class:`vicc_ray.config.ClipConfig`).
    """

    module: str
    """Full name of its module."""
    cls: str
    """Name of its class, a :class:`vicc_ray.models.backbones.base.Backbone`."""
    min_frames: int = 2
    """Smallest number of frames."""
    min_pixels: int = 16
    """Smallest height and width in pixels."""


BACKBONES = {
    "s3d": BackboneSpec("vicc_ray.models.backbones.s3d", "S3DBackbone", min_frames=5, min_pixels=17),
    "r2plus1d-18": BackboneSpec("vicc_ray.models.backbones.r2plus1d", "R2Plus1D18"),
    "r2plus1d-small": BackboneSpec("vicc_ray.models.backbones.r2plus1d", "R2Plus1DSmall"),
    "tiny": BackboneSpec("vicc_ray.models.backbones.tiny", "TinyBackbone"),
}
"""Value of ``model.backbone`` -> backbone."""


class ObjectiveSpec(NamedTuple):
    """Location of a pretraining objective, and what the rest of the package must know of it."""

    module: str
    """Full name of its module."""
    cls: str
    """Name of its class, a :class:`vicc_ray.method.objective.Objective`."""
    has_prototypes: bool = False
    """Whether samples are assigned to prototypes: their entropies are then diagnosed, and the report shows them."""
    cross_stream: bool = False
    """Whether it supports views of both streams (``schedule.cross_stream``)."""


OBJECTIVES = {
    "vicc": ObjectiveSpec("vicc_ray.method.vicc", "ViCCObjective", has_prototypes=True, cross_stream=True),
    "moco": ObjectiveSpec("vicc_ray.method.moco", "MoCoObjective"),
}
"""Value of ``method.objective`` -> objective."""


class TrackerSpec(NamedTuple):
    """Location of an experiment tracker, and the package that it needs."""

    module: str
    """Full name of its module."""
    cls: str
    """Name of its class, a :class:`vicc_ray.training.trackers.async_tracker.Tracker`."""
    package: str
    """Package that it imports."""
    extra: str = ""
    """Extra of this project that installs the package; "" if it is a dependency."""
    rewinds: bool = False
    """Whether a resumed run can remove points after its checkpoint."""


TRACKERS = {
    "tensorboard": TrackerSpec("vicc_ray.training.trackers.tensorboard", "TensorBoard", "tensorboardX", rewinds=True),
    "mlflow": TrackerSpec("vicc_ray.training.trackers.mlflow", "MLflow", "mlflow", extra="mlflow"),
    "wandb": TrackerSpec("vicc_ray.training.trackers.wandb", "WandB", "wandb", extra="wandb"),
}
"""Entry of ``train.trackers`` -> tracker."""


def load_class(spec: BackboneSpec | ObjectiveSpec | TrackerSpec) -> Any:
    """Class of an entry; its module is imported now."""
    return getattr(import_module(spec.module), spec.cls)


def registered_names(table: Mapping[str, NamedTuple]) -> tuple[str, ...]:
    """Names in a table, after all plugins are imported."""
    for plugin in filter(None, os.environ.get(PLUGINS, "").split(",")):
        import_module(plugin.strip())
    return tuple(table)
