"""What is looked at of a video: all that its features depend on, beside the network."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from vicc_ray.config import ClipConfig, Config


class View(BaseModel):
    """Windows of ``frames`` frames, every ``step``-th, of ``size`` x ``size`` pixels around the centre.

    They overlap by ``overlap``, with at most ``max_windows`` in a stretch of a video (see
    :mod:`vicc_ray.search.windows`), and reach to ``max_frames`` frames from its start.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: Annotated[int, Field(ge=2, le=4096)]
    step: Annotated[int, Field(ge=1, le=4096)]
    size: Annotated[int, Field(ge=16, le=4096)]
    overlap: Annotated[float, Field(ge=0, lt=1)]
    max_windows: Annotated[int, Field(ge=1, le=10**6)]
    max_frames: Annotated[int, Field(ge=1, le=10**12)]

    @property
    def extent(self) -> int:
        """Frames of the video from the first to the last of a window."""
        return (self.frames - 1) * self.step + 1

    @classmethod
    def of(cls, clip: ClipConfig, config: Config) -> View:
        """The view of a network that was trained with ``clip``."""
        return cls(
            frames=clip.frames,
            step=clip.frame_stride,
            size=clip.size,
            overlap=config.evaluate.window_overlap,
            max_windows=config.evaluate.max_windows_per_video,
            max_frames=config.prepare.max_frames,
        )
