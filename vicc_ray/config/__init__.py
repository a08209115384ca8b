"""Settings of a run: each declared once, with type, documentation and validation.

Each class is one section of a recipe. ``vicc-ray config`` and error messages show the docstring of each field.
:mod:`vicc_ray.config.loader` reads recipes and overrides.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import model_validator

from vicc_ray.config.base import RESUMABLE, ConfigSection, CountOrZero, Stream
from vicc_ray.config.data import ClipConfig, Interpolation, PrepareConfig, ShortVideos
from vicc_ray.config.evaluate import ClassifyConfig, EvaluateConfig
from vicc_ray.config.method import MethodConfig, ModelConfig, OptimizerConfig, ScheduleConfig, Stage2Config
from vicc_ray.config.train import RayConfig, TrackerName, TrainConfig, Workers
from vicc_ray.registry import BACKBONES, OBJECTIVES

__all__ = [
    "ClassifyConfig",
    "ClipConfig",
    "Config",
    "EvaluateConfig",
    "Interpolation",
    "MethodConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PrepareConfig",
    "RayConfig",
    "ScheduleConfig",
    "Section",
    "ShortVideos",
    "Stage2Config",
    "Stream",
    "TrackerName",
    "TrainConfig",
    "Workers",
]


class Config(ConfigSection):
    """Complete recipe."""

    name: Annotated[str, RESUMABLE] = "run"
    """Name of the recipe, shown in reports."""
    seed: CountOrZero = 0
    """Seed of the weights, the order of videos and all random augmentations."""
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
        """Settings in stage 1 or 2: in stage 2, those of ``stage2`` override ``method``, ``optimizer`` and ``train``.

        For stage 1, ``stage2`` of the result is empty.
        """
        stage2 = self.stage2 if stage == 2 else Stage2Config()
        changes = stage2.model_dump(exclude_none=True)
        if stage == 2:
            changes["rgb_queue_start_epoch"] = None  # a setting of stage 1
        parts = {"method": self.method, "optimizer": self.optimizer, "train": self.train}
        update = {
            section: part.model_copy(update={name: v for name, v in changes.items() if name in type(part).model_fields})
            for section, part in parts.items()
        }
        return self.model_copy(update={**update, "stage2": stage2})

    def key_of(self, section: str, name: str) -> str:
        """Key that decides a setting of a stage: that of ``stage2`` where it is given, else its own."""
        return f"stage2.{name}" if getattr(self.stage2, name, None) is not None else f"{section}.{name}"

    @model_validator(mode="after")
    def _clip_fits_backbone(self) -> Config:
        backbone = BACKBONES[self.model.backbone]
        if self.clip.frames < backbone.min_frames or self.clip.size < backbone.min_pixels:
            raise ValueError(
                f"clip: {self.clip.frames} frames of {self.clip.size} pixels given; model.backbone "
                f"{self.model.backbone} needs at least {backbone.min_frames} frames of {backbone.min_pixels} pixels"
            )
        return self

    @model_validator(mode="after")
    def _colors_are_of_pictures(self) -> Config:
        if self.clip.color_flow and self.model.flow_input != "picture":
            raise ValueError(
                f"clip.color_flow: true given with model.flow_input {self.model.flow_input}; color operations need "
                "flow as a picture, so set model.flow_input to picture, or clip.color_flow to false"
            )
        return self

    @model_validator(mode="after")
    def _objective_fits_schedule(self) -> Config:
        schedule, name = self.schedule, self.method.objective
        if not OBJECTIVES[name].cross_stream and schedule.cycles and schedule.cross_stream:
            raise ValueError(
                f"method.objective: {name} given with schedule.cycles {schedule.cycles} and schedule.cross_stream "
                f"true; {name} compares clips of one stream only, so set schedule.cycles to 0, or "
                "schedule.cross_stream to false, which trains each stream alone in stage 2 for as many steps"
            )
        return self
