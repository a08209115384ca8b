"""How a run goes on its machines: workers, checkpoints, checks, and what Ray may use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_serializer, model_validator

from vicc_ray.config.base import RESUMABLE, ConfigSection, Count, CountOrZero, Positive
from vicc_ray.registry import TRACKERS

if TYPE_CHECKING:
    TrackerName = str
else:  # type checkers accept only literal names in Literal
    TrackerName = Literal[tuple(TRACKERS)]
WORKERS_IN_WORDS = "a whole number of at least 1, or {min: 1, max: 8} with two of them"


class Workers(ConfigSection):
    """How many workers train; a number is as good as equal bounds."""

    min: Count
    """With fewer the run waits."""
    max: Count
    """More are not started."""

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
        """Whether their number may change while the run goes on."""
        return self.min != self.max

    def __str__(self) -> str:
        return f"{self.min} to {self.max}" if self.elastic else str(self.min)


class TrainConfig(ConfigSection):
    """The run: batch, workers, checkpoints, held-out checks."""

    global_batch_size: Annotated[int, Field(ge=2)] = 48
    """Videos of one global step, shared by all workers."""
    num_workers: Annotated[Workers, Field(json_schema_extra={"words": WORKERS_IN_WORDS}), RESUMABLE] = Workers(
        min=1, max=1
    )
    """Training workers, each with a GPU if use_gpu, else a process on CPUs; {min: 1, max: 8}: as many as fit now."""
    cpus_per_worker: Annotated[float, Field(ge=0.0), RESUMABLE] = 0.0
    """Logical CPUs of a worker; 0: one beside a GPU, else half of the machine's; decoding has the rest."""
    elastic_resize_interval_s: Annotated[Positive, RESUMABLE] = 60.0
    """Seconds between looks whether there is room for more workers, where their number may change."""
    gpus_per_worker: Annotated[float, Field(gt=0.0, le=1.0), RESUMABLE] = 1.0
    """GPU of a worker, where GPUs are used: below 1, several trainings share one."""
    use_gpu: Annotated[Literal["auto", "yes", "no"], RESUMABLE] = "auto"
    """auto: GPUs if the cluster has any."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of the networks (loss and Sinkhorn are always fp32); auto: bf16 on GPUs that compute in it, else
    fp32: on a CPU without instructions for bf16, S3D took over ten times as long in it."""
    channels_last: bool = True
    """Whether clips and weights lie in memory with their channels innermost: a step of S3D on an AVX2 CPU took 6.5 s
    of processor time with it, 10 s without."""
    compile: bool = False
    """Whether torch.compile builds kernels for the networks. The first step of a phase then takes minutes, and on an
    AVX2 CPU S3D trained no faster (1.6 s against 1.5 s for two clips)."""
    activation_checkpointing: Annotated[bool, RESUMABLE] = False
    """Whether the backward pass computes the networks' parts again, instead of their activations being kept: for more
    videos in a device's memory, at 1.4 times the time (S3D on a CPU)."""
    deterministic: bool = False
    """Whether a repeated run is equal to the bit, where torch can; on CPUs it is in any case."""
    checkpoint_every_steps: Annotated[Count, RESUMABLE] = 500
    """Steps between checkpoints; the end of every phase makes one too, and so does the warning that a machine goes."""
    keep_last: Annotated[Count, RESUMABLE] = 2
    """Newest checkpoints kept beside those of the ends of phases and the best of each stream by held-out R@1."""
    validate_every_epochs: Annotated[CountOrZero, RESUMABLE] = 20
    """Epochs between retrieval checks of a checkpoint on held-out videos, beside the training; 0 turns them off."""
    max_validation_videos: Annotated[Count, RESUMABLE] = 1000
    """Most train and most held-out videos that such a check embeds."""
    validation_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of each class's training sources that is not trained on and that the checks score instead of the test
    videos, so that what is chosen by the checks is not chosen by the test; 0: the checks score the test videos."""
    max_restarts_without_progress: Annotated[CountOrZero, RESUMABLE] = 3
    """Failures without a new checkpoint in between after which the run gives up; one that advances goes on for ever."""
    log_sample_ids: Annotated[bool, RESUMABLE] = False
    """Whether samples.jsonl tells the videos of every step: the proof that each comes once an epoch."""
    trackers: Annotated[tuple[TrackerName, ...], RESUMABLE] = ("tensorboard",)
    """Where figures are drawn beside the JSON lines, which are always written; mlflow and wandb are extras."""

    @model_validator(mode="after")
    def _one_way_of_recomputing(self) -> TrainConfig:
        if self.compile and self.activation_checkpointing:
            raise ValueError(
                "activation_checkpointing: true given with train.compile true, which chooses by itself what is "
                "computed again; set one of them to false"
            )
        return self

    @model_validator(mode="after")
    def _each_tracker_once(self) -> TrainConfig:
        for name in self.trackers:
            if self.trackers.count(name) > 1:
                raise ValueError(f"trackers: {name} given {self.trackers.count(name)} times; give it once")
        return self


class RayConfig(ConfigSection):
    """What Ray may use when it is started on this machine (a running cluster has its own limits)."""

    cpus: CountOrZero = 0
    """Logical CPUs; 0: all of the machine."""
    object_store_mb: Annotated[int, Field(ge=80)] = 512
    """Size of the shared object store in MiB."""
    share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of the cluster's CPUs and object store that one training counts on; a sweep gives each trial its part."""
    node_wait_timeout_s: Annotated[float, Field(ge=0.0)] = 1800.0
    """Seconds that a pipeline waits for machines that an autoscaler may bring, or for the first one of a cluster: a
    training for as many as train.num_workers needs at least. Asked for GPUs alone where train.use_gpu is yes."""
