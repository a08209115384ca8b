"""Settings of a training run and of Ray: workers, checkpoints, validation, resources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_serializer, model_validator

from vicc_ray.config.base import RESUMABLE, ConfigSection, Count, CountOrZero, Positive
from vicc_ray.registry import TRACKERS, registered_names

if TYPE_CHECKING:
    TrackerName = str
else:  # type checkers accept only literal names in Literal
    TrackerName = Literal[registered_names(TRACKERS)]
WORKERS_IN_WORDS = "a whole number of at least 1, or {min: 1, max: 8} with two of them"


class Workers(ConfigSection):
    """Number of training workers, fixed or between bounds; a plain number means equal bounds."""

    min: Count
    """Minimum; with fewer workers the run waits."""
    max: Count
    """Maximum number of workers."""

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: object) -> object:
        return {"min": value, "max": value} if type(value) is int else value

    @model_validator(mode="after")
    def _ordered(self) -> Workers:
        if self.min > self.max:
            raise ValueError(f"min: {self.min} given, which is above max ({self.max})")
        return self

    @model_serializer
    def _as_given(self) -> int | dict[str, int]:
        return self.min if not self.elastic else {"min": self.min, "max": self.max}

    @property
    def elastic(self) -> bool:
        """Whether the number of workers may change during a run."""
        return self.min != self.max

    def __str__(self) -> str:
        return f"{self.min} to {self.max}" if self.elastic else str(self.min)


class TrainConfig(ConfigSection):
    """Training run: batch, workers, checkpoints, validation."""

    global_batch_size: Annotated[int, Field(ge=2)] = 48
    """Videos per step, over all workers."""
    drop_last: bool = False
    """Whether an epoch of pretraining ends with its last whole step and leaves out the videos of an incomplete one.
    false: a step may span two epochs, and each video occurs once per epoch."""
    num_workers: Annotated[Workers, Field(json_schema_extra={"words": WORKERS_IN_WORDS}), RESUMABLE] = Workers(
        min=1, max=1
    )
    """Training workers, each with a GPU or, without GPUs, on CPUs. {min: 1, max: 8} scales with the available
    resources."""
    batch_norm: Literal["sync", "local"] = "sync"
    """Samples that batch norm takes its statistics from in training. sync: those of all workers, so that the loss does
    not depend on their number. local: those of each worker by itself (published); their number is then fixed."""
    cpus_per_worker: Annotated[float, Field(ge=0.0), RESUMABLE] = 0.0
    """Logical CPUs of a worker; decoding uses the rest. 0: one next to a GPU, else half of the machine's."""
    elastic_resize_interval_s: Annotated[Positive, RESUMABLE] = 60.0
    """Seconds between checks for resources for more workers, if their number is elastic."""
    gpus_per_worker: Annotated[float, Field(gt=0.0, le=1.0), RESUMABLE] = 1.0
    """GPUs of a worker when GPUs are used; below 1, several trainings share a GPU."""
    use_gpu: Annotated[Literal["auto", "yes", "no"], RESUMABLE] = "auto"
    """auto: GPUs if the cluster has any."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of the networks; loss and Sinkhorn are always fp32. auto: bf16 on GPUs that support it, else fp32.
    On a CPU without bf16 instructions, S3D took over ten times as long in bf16."""
    channels_last: bool = True
    """Whether clips and weights use the channels-last memory format. On an AVX2 CPU a step of S3D took 6.5 s of
    processor time with it, 10 s without."""
    compile: bool = False
    """Whether torch.compile compiles the networks. The first step of a phase then takes minutes, and on an AVX2 CPU S3D
    trained no faster (1.6 s against 1.5 s for two clips)."""
    activation_checkpointing: Annotated[bool, RESUMABLE] = False
    """Whether the backward pass recomputes activations instead of storing them: more videos fit in memory, at 1.4 times
    the time (S3D on a CPU)."""
    deterministic: bool = False
    """Whether to use deterministic kernels where torch has them, for bit-identical repeated runs. CPU runs are in any
    case."""
    checkpoint_every_steps: Annotated[Count, RESUMABLE] = 500
    """Steps between checkpoints. A phase end and a preemption notice write one too."""
    keep_last: Annotated[Count, RESUMABLE] = 2
    """Number of newest checkpoints to keep, in addition to those at phase ends and the best of each stream by
    validation R@1."""
    validate_every_epochs: Annotated[CountOrZero, RESUMABLE] = 20
    """Epochs between validations of a checkpoint by retrieval, concurrent with training; 0 turns them off."""
    max_validation_videos: Annotated[Count, RESUMABLE] = 1000
    """Maximum number of train and of held-out videos that a validation embeds."""
    validation_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Fraction of each class's training sources held out for validation. 0: validations score the test videos, so
    choices made by them are made on the test set."""
    max_restarts_without_progress: Annotated[CountOrZero, RESUMABLE] = 3
    """Failures without a new checkpoint in between after which the run stops. Restarts that make progress are not
    counted."""
    log_sample_ids: Annotated[bool, RESUMABLE] = False
    """Whether samples.jsonl lists the videos of every step, to verify that each is used once per epoch."""
    trackers: Annotated[tuple[TrackerName, ...], RESUMABLE] = ("tensorboard",)
    """Experiment trackers besides the JSON lines, which are always written; mlflow and wandb are extras of the
    package."""

    @model_validator(mode="after")
    def _one_way_of_recomputing(self) -> TrainConfig:
        if self.compile and self.activation_checkpointing:
            raise ValueError(
                "activation_checkpointing: true given with train.compile true, which chooses by itself what is "
                "computed again; set one of them to false"
            )
        return self

    @model_validator(mode="after")
    def _workers_fit_batch_norm(self) -> TrainConfig:
        if self.batch_norm == "local" and self.num_workers.elastic:
            raise ValueError(
                f"num_workers: {self.num_workers} given with train.batch_norm local, whose loss depends on the number "
                "of workers; give one number, or set train.batch_norm to sync"
            )
        return self

    @model_validator(mode="after")
    def _each_tracker_once(self) -> TrainConfig:
        for name in self.trackers:
            if self.trackers.count(name) > 1:
                raise ValueError(f"trackers: {name} given {self.trackers.count(name)} times; give it once")
        return self


class RayConfig(ConfigSection):
    """Resources of a local Ray session (a running cluster has its own limits), and waits."""

    cpus: CountOrZero = 0
    """Logical CPUs; 0: all of the machine."""
    object_store_mb: Annotated[int, Field(ge=80)] = 512
    """Size of the object store in MiB."""
    share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Fraction of the cluster's CPUs and object store for one training; a sweep divides them among its trials."""
    node_wait_timeout_s: Annotated[float, Field(ge=0.0)] = 1800.0
    """Seconds to wait for the first node of a cluster, and for nodes that an autoscaler may add until the minimum of
    train.num_workers fits. An autoscaler is asked for GPUs only if train.use_gpu is yes."""
