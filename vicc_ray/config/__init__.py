"""Every setting of a run: declared once, typed, documented where it is declared, validated.

Each class is one section of a recipe; the text under a field is what ``vicc-ray config`` and the error messages show.
Reading recipes and overrides is in :mod:`vicc_ray.config.loader`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import model_validator

from vicc_ray.config.base import RESUMABLE, ConfigSection, CountOrZero, Stream
from vicc_ray.config.data import ClipConfig, PrepareConfig
from vicc_ray.config.evaluate import ClassifyConfig, EvaluateConfig
from vicc_ray.config.method import MethodConfig, ModelConfig, OptimizerConfig, ScheduleConfig, Stage2Config
from vicc_ray.config.train import RayConfig, TrackerName, TrainConfig, Workers
from vicc_ray.registry import BACKBONES, OBJECTIVES

__all__ = [
    "ClassifyConfig",
    "ClipConfig",
    "Config",
    "EvaluateConfig",
    "MethodConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PrepareConfig",
    "RayConfig",
    "ScheduleConfig",
    "Section",
    "Stage2Config",
    "Stream",
    "TrackerName",
    "TrainConfig",
    "Workers",
]


class Config(ConfigSection):
    """A whole recipe."""

    name: Annotated[str, RESUMABLE] = "run"
    """Name of the recipe, shown in reports."""
    seed: CountOrZero = 0
    """Seed of weights, of the order of videos and of every random draw of a sample."""
    prepare: PrepareConfig = PrepareConfig()
    clip: ClipConfig = ClipConfig()
    model: ModelConfig = ModelConfig()
    method: MethodConfig = MethodConfig()
    stage2: Stage2Config = Stage2Config()
    schedule: ScheduleConfig = ScheduleConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()
    evaluate: Annotated[EvaluateConfig, RESUMABLE] = EvaluateConfig()
    classify: Annotated[ClassifyConfig, RESUMABLE] = ClassifyConfig()
    ray: Annotated[RayConfig, RESUMABLE] = RayConfig()

    def of_stage(self, stage: int) -> Config:
        """The settings as they hold in stage 1 or 2: what ``stage2`` gives stands in ``method`` and ``optimizer``.

        ``stage2`` itself holds what applies, which in stage 1 is nothing.
        """
        applying = self.stage2 if stage == 2 else Stage2Config()
        given = applying.model_dump(exclude_none=True)
        method, optimizer = (
            part.model_copy(update={name: value for name, value in given.items() if name in type(part).model_fields})
            for part in (self.method, self.optimizer)
        )
        return self.model_copy(update={"method": method, "optimizer": optimizer, "stage2": applying})

    @model_validator(mode="after")
    def _clip_fits_backbone(self) -> Config:
        smallest = BACKBONES[self.model.backbone]
        if self.clip.frames < smallest.min_frames or self.clip.size < smallest.min_pixels:
            raise ValueError(
                f"clip: {self.clip.frames} frames of {self.clip.size} pixels given; model.backbone "
                f"{self.model.backbone} needs at least {smallest.min_frames} frames of {smallest.min_pixels} pixels"
            )
        return self

    @model_validator(mode="after")
    def _objective_fits_schedule(self) -> Config:
        schedule, name = self.schedule, self.method.objective
        if not OBJECTIVES[name].cross_stream and schedule.cycles and schedule.cross_stream:
            raise ValueError(
                f"method.objective: {name} given with schedule.cycles {schedule.cycles} and schedule.cross_stream "
                f"true; {name} compares clips of one stream only, so set schedule.cycles to 0, or "
                "schedule.cross_stream to false: then stage 2 trains each stream alone for as many steps"
            )
        return self
