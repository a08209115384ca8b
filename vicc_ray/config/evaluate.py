"""Settings of the evaluation: retrieval and action recognition."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vicc_ray.config.base import ConfigSection, Count, CountOrZero, Fraction, Positive, Stream
from vicc_ray.config.data import ClipConfig
from vicc_ray.config.method import OptimizerConfig

Milestones = tuple[Count, ...]
CLIP_OVERRIDES = (
    *("flip_prob", "jitter_prob", "brightness", "contrast", "saturation", "hue"),
    *("grayscale_prob", "blur_prob"),
)
"""Settings of ``classify`` that override those of ``clip``."""


class EvaluateConfig(ConfigSection):
    """Retrieval of nearest neighbors by the features of whole videos."""

    protocol: Literal["standard", "published"] = "standard"
    """standard: windows and crops of the settings below. published: all windows, one every 15 frames, and squares of
    14/15 of the short side: the center for retrieval, ten crops for classification."""
    window_overlap: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
    """Overlap of consecutive windows, as a fraction of their length."""
    max_windows_per_video: Count = 10
    """Maximum number of windows per video, evenly spaced."""
    crops: Literal["center", "ten"] = "center"
    """Squares of each window: the center, or that and the corners at 7/8 of the short side, and their mirror images;
    features are averaged over them."""
    batch_size: Count = 16
    """Windows per forward pass."""
    exclude_same_source: bool = False
    """Whether neighbors of the query's own source (the same original recording) are excluded."""

    @model_validator(mode="after")
    def _published_is_complete(self) -> EvaluateConfig:
        for name in ("window_overlap", "max_windows_per_video", "crops"):
            value, default = getattr(self, name), type(self).model_fields[name].default
            if self.protocol == "published" and value != default:
                raise ValueError(
                    f"{name}: {value} given with evaluate.protocol published, which has its own windows and crops; set "
                    f"evaluate.protocol to standard, or leave evaluate.{name} at {default}"
                )
        return self


class ClassifyConfig(ConfigSection):
    """Action recognition: a linear layer on the backbone, trained with labels; see also train, clip, evaluate."""

    mode: Literal["probe", "finetune", "cached_probe"] = "finetune"
    """probe: a linear layer over the frozen network; finetune: the network too; cached_probe: the layer alone, in
    seconds, on the features that `vicc-ray evaluate` has made."""
    stream: Stream = "rgb"
    """Stream of the network. Once both streams are classified, their averaged probabilities are scored too."""
    global_batch_size: Annotated[int, Field(ge=2)] = 48
    """Videos per step, over all workers."""
    probe_epochs: Count = 100
    """Epochs of a probe."""
    finetune_epochs: Count = 500
    """Epochs of fine-tuning."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """adamw, or sgd with momentum (published)."""
    momentum: Fraction = 0.9
    """Momentum of sgd."""
    probe_learning_rate: Positive = 1e-3
    """Learning rate of a probe's linear layer at the start."""
    finetune_learning_rate: Positive = 1e-3
    """Learning rate of fine-tuning at the start."""
    lr_schedule: Literal["cosine", "steps"] = "cosine"
    """cosine: down to min_lr_ratio; steps: a tenth from each of probe_lr_steps or finetune_lr_steps on (published)."""
    probe_lr_steps: Milestones = ()
    """Epochs from which a probe's learning rate is a tenth of the one before."""
    finetune_lr_steps: Milestones = ()
    """The same for fine-tuning."""
    min_lr_ratio: Annotated[float, Field(gt=0.0, le=1.0)] = 0.01
    """Fraction of the learning rate that is left at the end of the cosine."""
    warmup_epochs: CountOrZero = 0
    """Epochs of linear warmup from 0."""
    backbone_lr_mult: Fraction = 0.1
    """Multiplier of the backbone's learning rate in fine-tuning, relative to the linear layer."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """Dropout probability before the linear layer in fine-tuning."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-3
    """Weight decay of weights; biases and norms have none, unless decay_scope is all."""
    decay_scope: Literal["weights", "all"] = "weights"
    """Parameters with weight decay: weights, or biases and norms too (published)."""
    flip_prob: Fraction | None = None
    """Training clips: null keeps the setting of this name of clip, here and below."""
    jitter_prob: Fraction | None = None
    """Probability of color jitter."""
    brightness: Fraction | None = None
    """Strength of brightness jitter."""
    contrast: Fraction | None = None
    """Strength of contrast jitter."""
    saturation: Fraction | None = None
    """Strength of saturation jitter."""
    hue: Annotated[float, Field(ge=0.0, le=0.5)] | None = None
    """Strength of hue jitter."""
    grayscale_prob: Fraction | None = None
    """Probability that a clip is replaced by one of its channels."""
    blur_prob: Fraction | None = None
    """Probability of Gaussian blur."""

    def training_clip(self, clip: ClipConfig) -> ClipConfig:
        """``clip`` with the overrides of this section."""
        given = self.model_dump(exclude_none=True, include=set(CLIP_OVERRIDES))
        return clip.model_copy(update=given)

    @property
    def lr_steps(self) -> tuple[int, ...]:
        """Epochs of the mode from which the learning rate is a tenth; none on the cosine."""
        if self.lr_schedule == "cosine":
            return ()
        return self.finetune_lr_steps if self.mode == "finetune" else self.probe_lr_steps

    @model_validator(mode="after")
    def _steps_rise(self) -> ClassifyConfig:
        for name in ("probe_lr_steps", "finetune_lr_steps"):
            steps = getattr(self, name)
            if list(steps) != sorted(set(steps)):
                raise ValueError(f"{name}: {list(steps)} given; each epoch must be later than the one before")
            if steps and self.lr_schedule == "cosine":
                raise ValueError(
                    f"{name}: {list(steps)} given with classify.lr_schedule cosine, which has no steps; set "
                    "classify.lr_schedule to steps"
                )
        return self

    @property
    def epochs(self) -> int:
        """Epochs of the mode."""
        return self.finetune_epochs if self.mode == "finetune" else self.probe_epochs

    @property
    def rates(self) -> OptimizerConfig:
        """Learning-rate schedule of the mode."""
        rate = self.finetune_learning_rate if self.mode == "finetune" else self.probe_learning_rate
        lowest = rate if self.lr_schedule == "steps" else rate * self.min_lr_ratio
        return OptimizerConfig(learning_rate=rate, min_lr=lowest, warmup_epochs=self.warmup_epochs)
