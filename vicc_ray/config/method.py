"""Settings of the networks, the objective, the schedule and the optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from vicc_ray.config.base import ConfigSection, Count, CountOrZero, Fraction, Positive, Stream
from vicc_ray.registry import BACKBONES, OBJECTIVES, registered_names

if TYPE_CHECKING:
    BackboneName = str
    ObjectiveName = str
else:  # type checkers accept only literal names in Literal
    BackboneName = Literal[registered_names(BACKBONES)]
    ObjectiveName = Literal[registered_names(OBJECTIVES)]


class ModelConfig(ConfigSection):
    """Network of each stream: backbone, spatio-temporal mean, projection head, unit norm."""

    backbone: BackboneName = "s3d"
    """Video backbone of both streams. s3d and r2plus1d-small are those of the released models, tiny is for the demo."""
    embed_dim: Annotated[int, Field(ge=2)] = 128
    """Dimension D of the embedding."""
    flow_input: Literal["signed", "picture"] = "signed"
    """Input of the flow network. signed: (u, v, 0) as fractions of the bound, from -1 to 1; picture (published):
    (128, v, u) as 256 levels of -20 to 20 pixels in frames with short side 240, over 255 and in ImageNet's
    normalization."""
    init: Literal["default", "normal"] = "default"
    """Initial weights of the backbone. default: those of its layers; normal: convolutions normal with standard
    deviation 0.01, their biases 0, batch norm weights 1 and biases 0 (published)."""


class MethodConfig(ConfigSection):
    """Objective: prototypes, assignments, queue and loss."""

    objective: ObjectiveName = "vicc"
    """vicc: the published method; moco: InfoNCE with a momentum encoder (MoCo) on each stream alone, as a baseline."""
    num_prototypes: Annotated[int, Field(ge=2)] = 300
    """Number K of prototypes of each stream."""
    temperature: Positive = 0.1
    """Softmax temperature of the predicted assignments."""
    sinkhorn_epsilon: Positive = 0.05
    """Entropy regularization of Sinkhorn-Knopp; smaller gives harder assignments."""
    sinkhorn_iterations: Count = 3
    """Row and column normalizations of Sinkhorn-Knopp."""
    queue_size: CountOrZero = 1920
    """Embeddings of earlier steps kept for each view, over all workers; 0 disables the queue."""
    queue_start_epoch: CountOrZero = 15
    """Epoch of a phase from which the queue is filled and used."""
    rgb_queue_start_epoch: CountOrZero | None = None
    """The same for RGB stage 1; null: queue_start_epoch."""
    freeze_prototypes_epochs: CountOrZero = 1
    """Epochs at the start of each phase during which the prototypes are frozen."""
    clip_forward: Literal["joint", "separate"] = "joint"
    """How the two clips of the trained stream pass through its network. joint: in one forward pass; separate: one after
    the other, so that batch norm sees each by itself (published)."""
    gradient_clips: Literal["both", "first"] = "both"
    """Clips of the trained stream whose embedding has a gradient. first: the second passes through the network in
    training mode without one (published), which takes less memory with clip_forward separate. With train.batch_norm
    local, second clips are then shuffled over the workers, so that a worker's statistics tell nothing of a sample."""
    moco_temperature: Positive = 0.07
    """Softmax temperature of InfoNCE."""
    moco_momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999
    """Momentum of the key encoder."""

    def first_queue_epoch(self, stream: Stream) -> int:
        """Epoch of a phase of ``stream`` from which the queue is filled and used."""
        own = self.rgb_queue_start_epoch if stream == "rgb" else None
        return self.queue_start_epoch if own is None else own


class ScheduleConfig(ConfigSection):
    """Phases: RGB stage 1, flow stage 1, then cycles of (RGB stage 2, flow stage 2)."""

    rgb_epochs: CountOrZero = 300
    """Epochs of RGB stage 1."""
    flow_epochs: CountOrZero = 300
    """Epochs of flow stage 1."""
    stage1_cosine_epochs: Count = 500
    """Length of the cosine schedule of stage 1 in epochs; a phase may stop before its end."""
    cycles: Annotated[int, Field(ge=0, le=10_000)] = 2
    """Cycles of stage 2, each an RGB phase and a flow phase."""
    epochs_per_phase: Count = 100
    """Epochs of each stage-2 phase: the alternation period of the method."""
    stage2_max_epochs: CountOrZero = 0
    """Maximum epochs of stage 2 over all its phases; it may end within a phase. For runs that differ only in their
    alternation. 0: no limit besides the cycles."""
    stage2_cosine_epochs: CountOrZero = 100
    """Length of the cosine schedule of a stage-2 phase in epochs; 0: the length of the phase."""
    final_flow_phase: bool = True
    """Whether the last cycle has a flow phase; without it training is shorter if only the RGB network is needed."""
    cross_stream: bool = True
    """Whether stage 2 uses both streams; false trains each alone for as many steps (the method's control)."""


class Stage2Config(ConfigSection):
    """Overrides for stage 2; null keeps the setting of the same name."""

    num_prototypes: Annotated[int, Field(ge=2)] | None = None
    """Number K of prototypes of each stream; another number than in stage 1 reinitializes them."""
    temperature: Positive | None = None
    """Softmax temperature of the predicted assignments."""
    sinkhorn_epsilon: Positive | None = None
    """Entropy regularization of Sinkhorn-Knopp."""
    queue_size: CountOrZero | None = None
    """Embeddings of earlier steps kept for each view; 0 disables the queue."""
    queue_start_epoch: CountOrZero | None = None
    """Epoch of a phase from which the queue is filled and used."""
    freeze_prototypes_epochs: CountOrZero | None = None
    """Epochs at the start of each phase during which the prototypes are frozen."""
    learning_rate: Positive | None = None
    """Learning rate at the start of the cosine."""
    warmup_epochs: CountOrZero | None = None
    """Epochs of linear warmup from 0 at the start of each phase."""
    global_batch_size: Annotated[int, Field(ge=2)] | None = None
    """Videos per step, over all workers."""
    precision: Literal["auto", "fp32", "bf16"] | None = None
    """Number format of the networks."""


class OptimizerConfig(ConfigSection):
    """Optimizer and learning rate."""

    name: Literal["lars", "adamw"] = "lars"
    """lars: SGD with momentum and layer-wise adaptive rates (published); adamw: for small networks and short runs."""
    learning_rate: Positive = 0.6
    """Learning rate at the start of the cosine, for the global batch."""
    min_lr: Positive = 0.0006
    """Learning rate at the end of the cosine."""
    warmup_epochs: CountOrZero = 0
    """Epochs of linear warmup from 0 at the start of each phase."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-6
    """Weight decay of weights; biases and norm parameters have none, unless lars_scope is all."""
    momentum: Fraction = 0.9
    """Momentum of lars."""
    trust_coefficient: Positive = 0.001
    """Trust coefficient of lars."""
    lars_scope: Literal["weights", "all"] = "weights"
    """Parameters that lars gives weight decay and an adaptive rate. weights: weights and prototypes; all: also biases
    and norm parameters (published)."""
