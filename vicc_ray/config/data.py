"""Settings of the clip store and of the training clips cropped from it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vicc_ray.config.base import RESUMABLE, ConfigSection, Count, Fraction, Positive

ShortVideos = Literal["loop", "repeat_first"]
Interpolation = Literal["bilinear", "bicubic"]


class PrepareConfig(ConfigSection):
    """Preparation of videos: decode, scale, optical flow, compress."""

    short_side: Annotated[int, Field(ge=16, le=1080, multiple_of=2)] = 128
    """Shorter side of stored frames in pixels; the aspect ratio is kept."""
    flow_method: Literal["dis", "tvl1", "farneback"] = "dis"
    """Optical-flow algorithm (OpenCV): dis is fast, tvl1 is the published one, farneback an older alternative."""
    flow_size: Literal["stored", "source"] = "stored"
    """Frames that optical flow is computed on: stored, the frames as they are stored; source, the frames at the size of
    their video (a short side of at most 1080 pixels), whose flow is scaled to the stored size."""
    flow_unit: Literal["stored", "source"] = "stored"
    """Unit of stored displacements: pixels of the stored frame, or of the frame at the size of its video."""
    flow_bound: Positive = 20.0
    """Bound of the stored displacement in pixels per frame, in the unit of flow_unit; larger values are clipped."""
    flow_downscale: Literal[1, 2, 4] = 2
    """Downscaling factor of stored flow in each dimension; the unit of displacements stays the same."""
    gop_size: Annotated[int, Field(ge=1, le=64)] = 8
    """Frames per group of pictures. Reading a clip decodes up to this many frames minus one in vain."""
    rgb_crf: Annotated[int, Field(ge=0, le=40)] = 18
    """Constant rate factor of the stored H.264. Smaller means better quality and larger files; 18 is visually
    lossless."""
    flow_quality: Annotated[int, Field(ge=50, le=100)] = 95
    """JPEG quality of the stored flow."""
    max_frames: Count = 1000
    """Maximum number of stored frames per video, from its start."""
    timeout_s: Positive = 120.0
    """Time limit in seconds for decoding one video and computing its flow. A video over the limit is stored truncated
    if it has at least 100 frames by then, else recorded as a failure."""
    max_failure_rate: Fraction = 0.5
    """Fraction of failed videos above which the preparation stops with an error, once at least 20 videos are done."""
    split_fold: Annotated[int, Field(ge=1, le=3)] = 1
    """Official fold to use when the labels are the lists of UCF101 or HMDB51."""
    test_fraction: Annotated[Fraction, RESUMABLE] = 0.25
    """Fraction of sources held out for testing when the videos come without a split; unlabeled sources never are."""
    videos_per_shard: Count = 64
    """Rows of one Parquet file, the unit of parallel work and of resumption."""

    @property
    def grid(self) -> int:
        """Divisor of stored heights, widths and crops, so that subsampled chroma and flow align with them."""
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
    """Training sample: two clips of one video, with the same crop for RGB and flow."""

    frames: Annotated[int, Field(ge=2)] = 32
    """Frames per clip."""
    frame_stride: Count = 1
    """Distance in stored frames between consecutive frames of a clip."""
    short_videos: ShortVideos = "loop"
    """What fills a clip that is longer than its video: the video again from its start, or its first frame, repeated at
    the front."""
    size: Annotated[int, Field(ge=16, multiple_of=2)] = 128
    """Height and width of a clip in pixels, after the random crop is resized."""
    same_clip_prob: Fraction = 0.5
    """Fraction of samples that take one clip and augment it twice; the rest take two different clips."""
    same_clip_colored: Literal["both", "one"] = "both"
    """Views of one clip that get color jitter, grayscale and blur: both, or one of them, chosen at random."""
    two_clips_color_prob: Fraction = 1.0
    """Probability that a view of a sample of two clips gets color jitter, grayscale and blur."""
    crop_scale: tuple[Fraction, Fraction] = (0.2, 1.0)
    """Range of the area of the random crop, as a fraction of the frame."""
    crop_ratio: tuple[Positive, Positive] = (0.75, 4.0 / 3.0)
    """Range of the aspect ratio (width / height) of the random crop."""
    interpolation: Interpolation = "bilinear"
    """Interpolation of the resized crop."""
    scale_flow_with_crop: bool = False
    """Whether displacements are scaled with the resized crop, so that flow matches its RGB clip."""
    flip_prob: Fraction = 0.5
    """Probability of a horizontal flip."""
    negate_flipped_flow: bool = True
    """Whether a horizontal flip negates the horizontal flow component, so that flow matches its RGB clip."""
    color_flow: bool = False
    """Whether flow pictures (model.flow_input picture) get the jitter, grayscale and blur of their RGB clips."""
    jitter_prob: Fraction = 0.8
    """Probability of color jitter on a colored view."""
    jitter_order: Literal["fixed", "random"] = "fixed"
    """Order of brightness, contrast, saturation and hue: this one, or drawn for each clip."""
    brightness: Fraction = 0.5
    """Strength of brightness jitter: factors from 1 - x to 1 + x."""
    contrast: Fraction = 0.5
    """Strength of contrast jitter: factors from 1 - x to 1 + x."""
    saturation: Fraction = 0.5
    """Strength of saturation jitter: factors from 1 - x to 1 + x."""
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.25
    """Strength of hue jitter: shifts from -x to +x of the color wheel."""
    grayscale_prob: Fraction = 0.5
    """Probability that a colored view is replaced by one of its channels, repeated three times."""
    grayscale_per_frame: bool = False
    """Whether that channel is drawn for each frame instead of once for the clip."""
    blur_prob: Fraction = 0.5
    """Probability of Gaussian blur on a colored view."""
    blur_sigma: tuple[Positive, Positive] = (0.1, 2.0)
    """Range of the standard deviation of the blur in pixels."""

    @model_validator(mode="after")
    def _ordered(self) -> ClipConfig:
        for name in ("crop_scale", "crop_ratio", "blur_sigma"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: the first value must not exceed the second ({low} > {high})")
        return self
