"""Specification of the windows of a video: everything that its features depend on besides the network."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from vicc_ray.config import ClipConfig, Config


class WindowSpec(BaseModel):
    """Windows of ``frames`` frames, every ``step``-th of the video, center-cropped to ``size`` x ``size`` pixels.

    The side of the crop is ``crop_share`` of the short side, to the nearest even pixel. Neighbors overlap by
    ``overlap``. A stretch of a video (:mod:`vicc_ray.search.windows`) has at most ``max_windows``. Frames after the
    first ``max_frames`` are ignored.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: Annotated[int, Field(ge=2, le=4096)]
    step: Annotated[int, Field(ge=1, le=4096)]
    size: Annotated[int, Field(ge=16, le=4096)]
    overlap: Annotated[float, Field(ge=0, lt=1)]
    max_windows: Annotated[int, Field(ge=1, le=10**6)]
    max_frames: Annotated[int, Field(ge=1, le=10**12)]
    crop_share: Annotated[float, Field(ge=0.5, le=1)]

    @property
    def extent(self) -> int:
        """Number of frames of the video that a window spans."""
        return (self.frames - 1) * self.step + 1

    @classmethod
    def of(cls, clip: ClipConfig, crop_share: float, config: Config) -> WindowSpec:
        """Specification for a network that was trained with ``clip`` and is tested with ``crop_share``."""
        return cls(
            frames=clip.frames,
            step=clip.frame_stride,
            size=clip.size,
            overlap=config.evaluate.window_overlap,
            max_windows=config.evaluate.max_windows_per_video,
            max_frames=config.prepare.max_frames,
            crop_share=crop_share,
        )
