"""What becomes of videos: the clip store, and the clips that are cut from it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vicc_ray.config.base import RESUMABLE, ConfigSection, Count, Fraction, Positive


class PrepareConfig(ConfigSection):
    """Videos to clip store: decode, scale, optical flow, compress."""

    short_side: Annotated[int, Field(ge=16, le=1080, multiple_of=2)] = 128
    """Stored height or width in pixels, whichever is shorter; the other keeps the aspect ratio."""
    flow_method: Literal["dis", "tvl1", "farneback"] = "dis"
    """Optical-flow algorithm (OpenCV): dis is fast, tvl1 is the published one, farneback the classic."""
    flow_bound: Positive = 20.0
    """Largest stored displacement in pixels a frame; larger ones are clipped to it."""
    flow_downscale: Literal[1, 2, 4] = 2
    """Stored flow has this many times fewer rows and columns than the frames; its unit stays a pixel of the frame."""
    gop_size: Annotated[int, Field(ge=1, le=64)] = 8
    """Frames that are compressed together; to read a clip, up to so many frames less one are decoded in vain."""
    rgb_crf: Annotated[int, Field(ge=0, le=40)] = 18
    """Rate factor of the stored H.264: smaller is better and larger; 18 looks like the original."""
    flow_quality: Annotated[int, Field(ge=50, le=100)] = 95
    """JPEG quality of the stored flow."""
    max_frames: Count = 1000
    """Frames kept of each video, from its start."""
    timeout_s: Positive = 120.0
    """Seconds after which decoding one video, with its flow, is given up: recorded as a failure, or, from 100 frames
    on, stored as far as it is."""
    max_failure_rate: Fraction = 0.5
    """Fraction of failed videos above which the preparation stops with an error, once at least 20 videos are done."""
    split_fold: Annotated[int, Field(ge=1, le=3)] = 1
    """Which of the three official folds is used, where the labels are the lists of UCF101 or HMDB51."""
    test_fraction: Annotated[Fraction, RESUMABLE] = 0.25
    """Fraction of sources held out for testing when the videos come without a split; unlabeled sources never are."""
    videos_per_shard: Count = 64
    """Rows of one Parquet file: the unit of parallel work and of resumption."""

    @property
    def grid(self) -> int:
        """Stored heights and widths, and crops of them, are multiples of this: half-size chroma and flow fit them."""
        return max(2, self.flow_downscale)

    @model_validator(mode="after")
    def _on_the_grid(self) -> PrepareConfig:
        if self.short_side % self.grid:
            raise ValueError(
                f"short_side: {self.short_side} given; with prepare.flow_downscale {self.flow_downscale} it must be a "
                f"multiple of {self.grid}"
            )
        return self


class ClipConfig(ConfigSection):
    """What one training sample is: two clips of one video, RGB and flow cut alike."""

    frames: Annotated[int, Field(ge=2)] = 32
    """Frames of a clip."""
    frame_stride: Count = 1
    """Distance in stored frames between neighbouring frames of a clip."""
    size: Annotated[int, Field(ge=16, multiple_of=2)] = 128
    """Height and width of a clip in pixels after the crop is resized."""
    same_clip_prob: Fraction = 0.5
    """Fraction of samples that take one clip and augment it twice; the rest take two different clips."""
    crop_scale: tuple[Fraction, Fraction] = (0.2, 1.0)
    """Smallest and largest area of the random crop, as a share of the frame."""
    crop_ratio: tuple[Positive, Positive] = (0.75, 4.0 / 3.0)
    """Smallest and largest width/height of the random crop."""
    scale_flow_with_crop: bool = False
    """Whether displacements are scaled with the resized crop, so that flow stays true to its RGB clip."""
    flip_prob: Fraction = 0.5
    """Probability of the horizontal flip; the horizontal flow component changes its sign with it."""
    jitter_prob: Fraction = 0.8
    """Probability of colour jitter on an RGB clip."""
    brightness: Fraction = 0.5
    """Strength of brightness jitter: factors from 1 - x to 1 + x."""
    contrast: Fraction = 0.5
    """Strength of contrast jitter: factors from 1 - x to 1 + x."""
    saturation: Fraction = 0.5
    """Strength of saturation jitter: factors from 1 - x to 1 + x."""
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.25
    """Strength of hue jitter: turns of the colour wheel from -x to +x."""
    grayscale_prob: Fraction = 0.5
    """Probability that an RGB clip is replaced by one of its channels, repeated."""
    blur_prob: Fraction = 0.5
    """Probability of Gaussian blur on an RGB clip."""
    blur_sigma: tuple[Positive, Positive] = (0.1, 2.0)
    """Smallest and largest standard deviation of the blur in pixels."""

    @model_validator(mode="after")
    def _ordered(self) -> ClipConfig:
        for name in ("crop_scale", "crop_ratio", "blur_sigma"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: the first value must not exceed the second ({low} > {high})")
        return self
