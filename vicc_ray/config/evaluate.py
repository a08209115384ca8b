"""How what was learnt is measured: retrieval, action recognition."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vicc_ray.config.base import ConfigSection, Count, CountOrZero, Fraction, Positive, Stream
from vicc_ray.config.method import OptimizerConfig


class EvaluateConfig(ConfigSection):
    """Retrieval: windows of whole videos, nearest neighbours."""

    window_overlap: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
    """Overlap of neighbouring test windows."""
    max_windows_per_video: Count = 10
    """Most windows of one video, evenly spread over it."""
    crops: Literal["center", "ten"] = "center"
    """Squares of each window: the center, or that and the corners at 7/8 of the short side, and their mirror images;
    features are averaged over them."""
    batch_size: Count = 16
    """Windows embedded at once."""
    exclude_same_source: bool = False
    """Whether neighbours of the query's own source (the same original recording) are left out."""


class ClassifyConfig(ConfigSection):
    """Action recognition: a linear layer on a network, trained with labels by AdamW; see also train, clip, evaluate."""

    mode: Literal["probe", "finetune", "cached_probe"] = "finetune"
    """probe: a linear layer over the frozen network; finetune: the network too; cached_probe: the layer alone, in
    seconds, on the features that `vicc-ray evaluate` has made."""
    stream: Stream = "rgb"
    """The network that classifies; once both have, their mean probabilities are scored too."""
    global_batch_size: Annotated[int, Field(ge=2)] = 48
    """Videos of one global step, shared by all workers."""
    probe_epochs: Count = 100
    """Epochs of a probe."""
    finetune_epochs: Count = 500
    """Epochs of fine-tuning."""
    probe_learning_rate: Positive = 1e-3
    """Learning rate of a probe's linear layer at the start of the cosine."""
    finetune_learning_rate: Positive = 1e-3
    """The same of fine-tuning."""
    min_lr_ratio: Annotated[float, Field(gt=0.0, le=1.0)] = 0.01
    """Fraction of the learning rate that is left at the end of the cosine."""
    warmup_epochs: CountOrZero = 0
    """Epochs of linear warm-up from 0."""
    backbone_lr_mult: Fraction = 0.1
    """Learning rate of the network in fine-tuning, as a share of the linear layer's."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """Probability that fine-tuning leaves out a feature before the linear layer."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-3
    """Weight decay of weights; biases and norms have none."""

    @property
    def epochs(self) -> int:
        """Those of the mode."""
        return self.finetune_epochs if self.mode == "finetune" else self.probe_epochs

    @property
    def rates(self) -> OptimizerConfig:
        """Warm-up and cosine of the mode's learning rate."""
        rate = self.finetune_learning_rate if self.mode == "finetune" else self.probe_learning_rate
        return OptimizerConfig(learning_rate=rate, min_lr=rate * self.min_lr_ratio, warmup_epochs=self.warmup_epochs)
