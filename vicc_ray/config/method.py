"""What is learnt and how: networks, objective, alternation, optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from vicc_ray.config.base import ConfigSection, Count, CountOrZero, Fraction, Positive
from vicc_ray.registry import BACKBONES, OBJECTIVES

if TYPE_CHECKING:
    BackboneName = str
    ObjectiveName = str
else:  # type checkers accept only literal names in Literal
    BackboneName = Literal[tuple(BACKBONES)]
    ObjectiveName = Literal[tuple(OBJECTIVES)]


class ModelConfig(ConfigSection):
    """The two networks: backbone, spatio-temporal mean, projection head, unit norm."""

    backbone: BackboneName = "s3d"
    """Video backbone of both streams; s3d and r2plus1d-small are those of the released models, tiny is the demo's."""
    embed_dim: Annotated[int, Field(ge=2)] = 128
    """Dimension D of the embedding."""


class MethodConfig(ConfigSection):
    """What is contrasted; prototypes, assignments, queue and loss."""

    objective: ObjectiveName = "vicc"
    """vicc: the published method; moco: InfoNCE with a momentum encoder (MoCo) on each stream alone, to compare."""
    num_prototypes: Annotated[int, Field(ge=2)] = 300
    """Number K of prototypes of each stream."""
    temperature: Positive = 0.1
    """Softmax temperature of the predictions of prototypes."""
    sinkhorn_epsilon: Positive = 0.05
    """Entropy regularisation of Sinkhorn-Knopp: smaller gives harder assignments."""
    sinkhorn_iterations: Count = 3
    """Row and column normalisations of Sinkhorn-Knopp."""
    queue_size: CountOrZero = 1920
    """Embeddings of earlier steps kept for each view, over all workers; 0 turns the queue off."""
    queue_start_epoch: CountOrZero = 15
    """Epoch of a phase from which the queue is filled and used."""
    freeze_prototypes_epochs: CountOrZero = 1
    """Epochs at the start of each phase during which the prototypes do not move."""
    moco_temperature: Positive = 0.07
    """Softmax temperature where instances are contrasted."""
    moco_momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999
    """Fraction that the momentum encoder of the instances' keys keeps of itself at each step."""


class ScheduleConfig(ConfigSection):
    """Phases: RGB stage 1, flow stage 1, then cycles of (RGB stage 2, flow stage 2)."""

    rgb_epochs: CountOrZero = 300
    """Epochs after which RGB stage 1 stops."""
    flow_epochs: CountOrZero = 300
    """Epochs after which flow stage 1 stops."""
    stage1_cosine_epochs: Count = 500
    """Length in epochs of the cosine of a stage-1 phase; it may be longer than the phase, which then stops early."""
    cycles: Annotated[int, Field(ge=0, le=10_000)] = 2
    """Cycles of stage 2; one cycle is an RGB phase and a flow phase."""
    epochs_per_phase: Count = 100
    """Epochs of each phase of stage 2."""
    stage2_max_epochs: CountOrZero = 0
    """Epochs of all phases of stage 2 together, after which it ends, within a phase if need be: for runs that differ in
    their alternation alone; 0: as many as the cycles have."""
    stage2_cosine_epochs: CountOrZero = 100
    """Length in epochs of the cosine of a stage-2 phase; 0: that of the phase."""
    final_flow_phase: bool = True
    """Whether the last cycle ends with its flow phase; false saves it where only the RGB network is wanted."""
    cross_stream: bool = True
    """Whether stage 2 uses both streams; false trains each alone for the same steps (the control of the method)."""


class Stage2Config(ConfigSection):
    """What is otherwise in stage 2 than in stage 1; where it is null, the setting of that name holds for both."""

    num_prototypes: Annotated[int, Field(ge=2)] | None = None
    """Number K of prototypes of each stream; where it is another one than before, they are drawn anew."""
    temperature: Positive | None = None
    """Softmax temperature of the predictions of prototypes."""
    sinkhorn_epsilon: Positive | None = None
    """Entropy regularisation of Sinkhorn-Knopp."""
    queue_size: CountOrZero | None = None
    """Embeddings of earlier steps kept for each view; 0 turns the queue off."""
    queue_start_epoch: CountOrZero | None = None
    """Epoch of a phase from which the queue is filled and used."""
    freeze_prototypes_epochs: CountOrZero | None = None
    """Epochs at the start of each phase during which the prototypes do not move."""
    learning_rate: Positive | None = None
    """Learning rate at the start of the cosine."""
    warmup_epochs: CountOrZero | None = None
    """Epochs of linear warm-up from 0 at the start of each phase."""


class OptimizerConfig(ConfigSection):
    """Optimizer and learning rate."""

    name: Literal["lars", "adamw"] = "lars"
    """lars: SGD with momentum and layer-wise adaptive rates (published); adamw: for small networks and short runs."""
    learning_rate: Positive = 0.6
    """Learning rate at the start of the cosine, for the whole global batch."""
    min_lr: Positive = 0.0006
    """Learning rate at the end of the cosine."""
    warmup_epochs: CountOrZero = 0
    """Epochs of linear warm-up from 0 at the start of each phase."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-6
    """Weight decay of weights; biases and norms have none."""
    momentum: Fraction = 0.9
    """Momentum of lars."""
    trust_coefficient: Positive = 0.001
    """Trust coefficient of lars."""
