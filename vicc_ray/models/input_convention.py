"""Input convention of a network: how decoded clips become its input. Weights files record it.

B clips, C channels, T frames, H, W; q quantized flow (:mod:`vicc_ray.video.flow`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from vicc_ray.config import ModelConfig, PrepareConfig, Stream
from vicc_ray.video.device_transforms import augment, device_constant, look_up
from vicc_ray.video.flow import LEVELS, ZERO, FlowUnit, picture_table

Channel = Literal["red", "green", "blue", "u", "v", "zero"]
"""Colors; horizontal and vertical flow; the value of no motion."""
Triple = tuple[float, float, float]
Positive = Annotated[float, Field(gt=0)]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
PUBLISHED_FLOW_BOUND = 20.0
"""Displacement in pixels that is the end of the published flow pictures' range."""
PUBLISHED_SHORT_SIDE = 240
"""Short side in pixels of the frames of the published flow."""
PUBLISHED_CROP_SHARE = 14 / 15
"""Side of the published test crop as a fraction of the short side: 224 of 240 pixels."""


class InputConvention(BaseModel):
    """Convention by which a network takes clips: its input is ``((value - offset) / scale - mean) / std``.

    Attributes:
        channels: content of the three input channels, in order.
        offset, scale: range of the values.
        mean, std: normalization of each channel.
        flow_bound: displacement in pixels at either end of a flow picture's 256 values; None: the values are quantized
            flow as stored, or colors.
        short_side: short side of the frames whose pixels are the unit of ``flow_bound``.
        crop_share: side of the center crop that the network is tested with, as a fraction of the short side.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: tuple[Channel, Channel, Channel]
    offset: float
    scale: Positive
    mean: Triple
    std: tuple[Positive, Positive, Positive]
    flow_bound: Positive | None = None
    short_side: Annotated[int, Field(ge=1)] | None = None
    crop_share: Annotated[float, Field(ge=0.5, le=1)] = 1.0

    @classmethod
    def of(cls, stream: Stream, model: ModelConfig, crop_share: float = 1.0) -> InputConvention:
        """Convention of the network of ``stream``."""
        base = RGB if stream == "rgb" else {"signed": SIGNED_FLOW, "picture": PICTURE_FLOW}[model.flow_input]
        return base.model_copy(update={"crop_share": crop_share})

    @property
    def stream(self) -> Stream:
        """Stream of the clips."""
        return "rgb" if self.channels == RGB_CHANNELS else "flow"

    @property
    def unit(self) -> FlowUnit:
        """Unit of quantized flow for which the network's range is all of its values; the default bound where that is
        the store's."""
        return FlowUnit(self.flow_bound or PrepareConfig().flow_bound, self.short_side)

    def to_input(self, clips: Tensor, unit: FlowUnit, appearance: Tensor | None = None) -> Tensor:
        """Network input of decoded clips.

        Args:
            clips: uint8 [B, T, H, W, 3] of RGB, or [B, T, H, W, 2] of quantized flow.
            unit: unit of quantized flow; RGB ignores it.
            appearance: parameters of color augmentation, float [B, len(APPEARANCE)] on the host; None: none.

        Returns:
            float32 [B, 3, T, H, W], channels last in memory.
        """
        x = self._three_channels(clips, unit).float()
        x = (x.sub_(self.offset) if self.offset else x).div_(self.scale)
        if appearance is not None:
            x = augment(x, appearance)
        if any(self.mean) or any(deviation != 1 for deviation in self.std):
            mean, std = (device_constant(v, x.device).view(1, 3, 1, 1, 1) for v in (self.mean, self.std))
            x = (x - mean) / std
        return x.contiguous(memory_format=torch.channels_last_3d)

    def _three_channels(self, clips: Tensor, unit: FlowUnit) -> Tensor:
        """uint8 [B, 3, T, H, W] in the order and scale of the convention."""
        if self.flow_bound is not None:
            clips = look_up(picture_table(unit, self.unit), clips)
        x = clips.permute(0, 4, 1, 2, 3)
        if self.channels == RGB_CHANNELS:
            return x
        parts = {"u": x[:, :1], "v": x[:, 1:], "zero": torch.full_like(x[:, :1], ZERO)}
        return torch.cat([parts[channel] for channel in self.channels], dim=1)


RGB_CHANNELS: tuple[Channel, Channel, Channel] = ("red", "green", "blue")
RGB = InputConvention(channels=RGB_CHANNELS, offset=0, scale=255, mean=IMAGENET_MEAN, std=IMAGENET_STD)
"""RGB in ImageNet's normalization, of networks trained here and of the published ones."""
SIGNED_FLOW = InputConvention(channels=("u", "v", "zero"), offset=ZERO, scale=LEVELS, mean=(0, 0, 0), std=(1, 1, 1))
"""Quantized flow in -1 to 1, as a fraction of the store's bound; no motion is 0."""
PICTURE_FLOW = InputConvention(
    channels=("zero", "v", "u"),
    offset=0,
    scale=255,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    flow_bound=PUBLISHED_FLOW_BOUND,
    short_side=PUBLISHED_SHORT_SIDE,
)
"""Flow as the published networks take it: a picture of three channels, in the normalization of RGB."""


@dataclass(frozen=True)
class ClipInput:
    """Function from decoded clips to the input of one network.

    Attributes:
        convention: of the network.
        unit: unit of the clips' quantized flow: that of the clip store, or of whoever computed it.
    """

    convention: InputConvention
    unit: FlowUnit

    def __call__(self, clips: Tensor, appearance: Tensor | None = None) -> Tensor:
        """See :meth:`InputConvention.to_input`."""
        return self.convention.to_input(clips, self.unit, appearance)
