"""Registries of backbones, objectives and trackers. A new one is a file and a line in a table below.

This module imports nothing of the package and no torch: the configuration validates names with it, and processes that
only decode videos should not wait for torch.
"""

from __future__ import annotations

from typing import NamedTuple


class BackboneSpec(NamedTuple):
    """Location of a backbone, and the smallest clip that gives a non-empty output.

    The defaults are the smallest clip that the configuration allows (:class:`vicc_ray.config.ClipConfig`).
    """

    module: str
    """Module in ``vicc_ray/models/backbones``."""
    cls: str
    """Name of its class, a :class:`vicc_ray.models.backbones.base.Backbone`."""
    min_frames: int = 2
    """Smallest number of frames."""
    min_pixels: int = 16
    """Smallest height and width in pixels."""


BACKBONES = {
    "s3d": BackboneSpec("s3d", "S3DBackbone", min_frames=5, min_pixels=17),
    "r2plus1d-18": BackboneSpec("r2plus1d", "R2Plus1D18"),
    "r2plus1d-small": BackboneSpec("r2plus1d", "R2Plus1DSmall"),
    "tiny": BackboneSpec("tiny", "TinyBackbone"),
}
"""Value of ``model.backbone`` -> backbone."""


class ObjectiveSpec(NamedTuple):
    """Location of a pretraining objective, and what the rest of the package must know of it."""

    module: str
    """Module in ``vicc_ray/method``."""
    cls: str
    """Name of its class, a :class:`vicc_ray.method.objective.Objective`."""
    has_prototypes: bool = False
    """Whether samples are assigned to prototypes: their entropies are then diagnosed, and the report shows them."""
    cross_stream: bool = False
    """Whether it supports views of both streams (``schedule.cross_stream``)."""


OBJECTIVES = {
    "vicc": ObjectiveSpec("vicc", "ViCCObjective", has_prototypes=True, cross_stream=True),
    "moco": ObjectiveSpec("moco", "MoCoObjective"),
}
"""Value of ``method.objective`` -> objective."""


class TrackerSpec(NamedTuple):
    """Location of an experiment tracker, and the package that it needs."""

    module: str
    """Module in ``vicc_ray/training/trackers``."""
    cls: str
    """Name of its class, a :class:`vicc_ray.training.trackers.async_tracker.Tracker`."""
    package: str
    """Package that it imports."""
    extra: str = ""
    """Extra of this project that installs the package; "" if it is a dependency."""
    rewinds: bool = False
    """Whether a resumed run can remove points after its checkpoint."""


TRACKERS = {
    "tensorboard": TrackerSpec("tensorboard", "TensorBoard", "tensorboardX", rewinds=True),
    "mlflow": TrackerSpec("mlflow", "MLflow", "mlflow", extra="mlflow"),
    "wandb": TrackerSpec("wandb", "WandB", "wandb", extra="wandb"),
}
"""Entry of ``train.trackers`` -> tracker."""
