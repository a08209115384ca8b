"""Every setting of a run: declared once, typed, documented where it is declared, validated.

Each class is one section of a recipe; the text under a field is what ``vicc-ray config`` and the error messages show.
Reading recipes and overrides is in :mod:`vicc_ray.recipe`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

from vicc_ray.models.catalogue import BACKBONES

Stream = Literal["rgb", "flow"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
TrackerName = Literal["tensorboard", "mlflow", "wandb"]
if TYPE_CHECKING:
    BackboneName = str
else:  # as if every name stood here; a type checker wants them written out
    BackboneName = Literal[tuple(BACKBONES)]


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, strict=False)


class PrepareConfig(Section):
    """Videos to clip store: decode, scale, optical flow, compress."""

    short_side: Annotated[int, Field(ge=16, le=1080, multiple_of=2)] = 128
    """Stored height or width in pixels, whichever is shorter; the other keeps the aspect ratio."""
    flow: Literal["dis", "tvl1", "farneback"] = "dis"
    """Optical-flow algorithm (OpenCV): dis is fast, tvl1 is the published one, farneback the classic."""
    flow_bound: Positive = 20.0
    """Largest stored displacement in pixels a frame; larger ones are clipped to it."""
    flow_scale: Literal[1, 2, 4] = 2
    """Stored flow has this many times fewer rows and columns than the frames; its unit stays a pixel of the frame."""
    group: Annotated[int, Field(ge=1, le=64)] = 8
    """Frames that are compressed together; to read a clip, up to so many frames less one are decoded in vain."""
    rgb_crf: Annotated[int, Field(ge=0, le=40)] = 18
    """Rate factor of the stored H.264: smaller is better and larger; 18 looks like the original."""
    flow_quality: Annotated[int, Field(ge=50, le=100)] = 95
    """JPEG quality of the stored flow."""
    max_frames: Count = 1000
    """Frames kept of each video, from its start."""
    time_limit_s: Positive = 120.0
    """Seconds after which decoding one video, with its flow, is given up and recorded as a failure."""
    max_failures: Share = 0.5
    """Share of failed videos above which the preparation stops with an error, once at least 20 videos are done."""
    fold: Annotated[int, Field(ge=1, le=3)] = 1
    """Which of the three official folds is used, where the labels are the lists of UCF101 or HMDB51."""
    videos_per_shard: Count = 64
    """Rows of one Parquet file: the unit of parallel work and of resumption."""

    @property
    def grid(self) -> int:
        """Stored heights and widths, and crops of them, are multiples of this: half-size chroma and flow fit them."""
        return max(2, self.flow_scale)

    @model_validator(mode="after")
    def _on_the_grid(self) -> PrepareConfig:
        if self.short_side % self.grid:
            raise ValueError(
                f"short_side: {self.short_side} given; with prepare.flow_scale {self.flow_scale} it must be a "
                f"multiple of {self.grid}"
            )
        return self


class ClipConfig(Section):
    """What one training sample is: two clips of one video, RGB and flow cut alike."""

    frames: Annotated[int, Field(ge=2)] = 32
    """Frames of a clip."""
    step: Count = 1
    """Distance in stored frames between neighbouring frames of a clip."""
    size: Annotated[int, Field(ge=16, multiple_of=2)] = 128
    """Height and width of a clip in pixels after the crop is resized."""
    same_clip_share: Share = 0.5
    """Share of samples that take one clip and augment it twice; the rest take two different clips."""
    crop_area: tuple[Share, Share] = (0.2, 1.0)
    """Smallest and largest area of the random crop, as a share of the frame."""
    crop_aspect: tuple[Positive, Positive] = (0.75, 4.0 / 3.0)
    """Smallest and largest width/height of the random crop."""
    rescale_flow: bool = False
    """Whether displacements are scaled with the resized crop, so that flow stays true to its RGB clip."""
    flip: Share = 0.5
    """Probability of the horizontal flip; the horizontal flow component changes its sign with it."""
    jitter: Share = 0.8
    """Probability of colour jitter on an RGB clip."""
    brightness: Share = 0.5
    """Strength of brightness jitter: factors from 1 - x to 1 + x."""
    contrast: Share = 0.5
    """Strength of contrast jitter: factors from 1 - x to 1 + x."""
    saturation: Share = 0.5
    """Strength of saturation jitter: factors from 1 - x to 1 + x."""
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.25
    """Strength of hue jitter: turns of the colour wheel from -x to +x."""
    grey: Share = 0.5
    """Probability that an RGB clip is replaced by one of its channels, repeated."""
    blur: Share = 0.5
    """Probability of Gaussian blur on an RGB clip."""
    blur_sigma: tuple[Positive, Positive] = (0.1, 2.0)
    """Smallest and largest standard deviation of the blur in pixels."""

    @model_validator(mode="after")
    def _ordered(self) -> ClipConfig:
        for name in ("crop_area", "crop_aspect", "blur_sigma"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: the first value must not exceed the second ({low} > {high})")
        return self


class ModelConfig(Section):
    """The two networks: backbone, spatio-temporal mean, projection head, unit norm."""

    backbone: BackboneName = "s3d"
    """Video backbone of both streams; s3d and r2plus1d-small are those of the released models, tiny is the demo's."""
    embedding: Annotated[int, Field(ge=2)] = 128
    """Dimension D of the embedding."""


class MethodConfig(Section):
    """What is contrasted; prototypes, assignments, queue and loss."""

    contrast: Literal["prototypes", "instances"] = "prototypes"
    """prototypes: the method; instances: InfoNCE with a momentum encoder (MoCo) on each stream alone, to compare."""
    prototypes: Annotated[int, Field(ge=2)] = 300
    """Number K of prototypes of each stream."""
    temperature: Positive = 0.1
    """Softmax temperature of the predictions of prototypes."""
    epsilon: Positive = 0.05
    """Entropy regularisation of Sinkhorn-Knopp: smaller gives harder assignments."""
    sinkhorn_iterations: Count = 3
    """Row and column normalisations of Sinkhorn-Knopp."""
    queue: CountOrZero = 1920
    """Embeddings of earlier steps kept for each view, over all workers; 0 turns the queue off."""
    queue_start: CountOrZero = 15
    """Epoch of a turn from which the queue is filled and used."""
    freeze_prototypes: CountOrZero = 1
    """Epochs at the start of each turn during which the prototypes do not move."""
    instance_temperature: Positive = 0.07
    """Softmax temperature where instances are contrasted."""
    key_momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999
    """Share that the momentum encoder of the instances' keys keeps of itself at each step."""


class ScheduleConfig(Section):
    """Turns: RGB stage 1, flow stage 1, then cycles of (RGB stage 2, flow stage 2)."""

    rgb_epochs: CountOrZero = 300
    """Epochs after which RGB stage 1 stops."""
    flow_epochs: CountOrZero = 300
    """Epochs after which flow stage 1 stops."""
    stage1_cosine_epochs: Count = 500
    """Length in epochs of the cosine of a stage-1 turn; it may be longer than the turn, which then stops early."""
    cycles: CountOrZero = 2
    """Cycles of stage 2; one cycle is an RGB turn and a flow turn."""
    alternation_period: Count = 100
    """Epochs of each turn of stage 2."""
    stage2_cosine_epochs: Count = 100
    """Length in epochs of the cosine of a stage-2 turn."""
    last_flow_turn: bool = True
    """Whether the last cycle ends with its flow turn; false saves it where only the RGB network is wanted."""
    cross_stream: bool = True
    """Whether stage 2 uses both streams; false trains each alone for the same steps (the control of the method)."""


class OptimiserConfig(Section):
    """Optimiser and learning rate."""

    name: Literal["lars", "adamw"] = "lars"
    """lars: SGD with momentum and layer-wise adaptive rates (published); adamw: for small networks and short runs."""
    learning_rate: Positive = 0.6
    """Learning rate at the start of the cosine, for the whole global batch."""
    final_learning_rate: Positive = 0.0006
    """Learning rate at the end of the cosine."""
    warmup_epochs: CountOrZero = 0
    """Epochs of linear warm-up from 0 at the start of each turn."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-6
    """Weight decay of weights; biases and norms have none."""
    momentum: Share = 0.9
    """Momentum of lars."""
    trust: Positive = 0.001
    """Trust coefficient of lars."""


WORKERS_IN_WORDS = "a whole number of at least 1, or {min: 1, max: 8} with two of them"


class Workers(Section):
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


class TrainConfig(Section):
    """The run: batch, workers, checkpoints, held-out checks."""

    batch: Annotated[int, Field(ge=2)] = 48
    """Videos of one global step, shared by all workers."""
    workers: Annotated[Workers, Field(json_schema_extra={"words": WORKERS_IN_WORDS})] = Workers(min=1, max=1)
    """Training workers, each with a GPU if use_gpu, else a process on CPUs; {min: 1, max: 8}: as many as fit now."""
    worker_cpus: Annotated[float, Field(ge=0.0)] = 0.0
    """Logical CPUs of a worker; 0: one beside a GPU, else half of the machine's; decoding has the rest."""
    resize_s: Positive = 60.0
    """Seconds between looks whether there is room for more workers, where their number may change."""
    use_gpu: Literal["auto", "yes", "no"] = "auto"
    """auto: GPUs if the cluster has any."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of the networks (loss and Sinkhorn are always fp32); auto: bf16 on GPUs that compute in it, else
    fp32: on a CPU without instructions for bf16, S3D took over ten times as long in it."""
    channels_last: bool = True
    """Whether clips and weights lie in memory with their channels innermost: a step of S3D on an AVX2 CPU took 6.5 s
    of processor time with it, 10 s without."""
    compile: bool = False
    """Whether torch.compile builds kernels for the networks. The first step of a turn then takes minutes, and on an
    AVX2 CPU S3D trained no faster (1.6 s against 1.5 s for two clips)."""
    activation_checkpointing: bool = False
    """Whether the backward pass computes the networks' parts again, instead of their activations being kept: for more
    videos in a device's memory, at 1.4 times the time (S3D on a CPU)."""
    deterministic: bool = False
    """Whether a repeated run is equal to the bit, where torch can; on CPUs it is in any case."""
    checkpoint_steps: Count = 500
    """Steps between checkpoints; the end of every turn makes one too, and so does the warning that a machine goes."""
    keep_checkpoints: Count = 2
    """Newest checkpoints kept beside those of the ends of turns and the best of each stream by held-out R@1."""
    evaluate_epochs: CountOrZero = 20
    """Epochs between retrieval checks of a checkpoint on held-out videos, beside the training; 0 turns them off."""
    evaluate_videos: Count = 1000
    """Most train and most held-out videos that such a check embeds."""
    max_failures: CountOrZero = 3
    """Failures without a new checkpoint in between after which the run gives up; one that advances goes on for ever."""
    record_samples: bool = False
    """Whether samples.jsonl tells the videos of every step: the proof that each comes once an epoch."""
    trackers: tuple[TrackerName, ...] = ("tensorboard",)
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


class EvaluateConfig(Section):
    """Retrieval: windows of whole videos, nearest neighbours."""

    overlap: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
    """Overlap of neighbouring test windows."""
    max_windows: Count = 10
    """Most windows of one video, evenly spread over it."""
    crops: Literal["centre", "ten"] = "centre"
    """Squares of each window: the centre, or that and the corners at 7/8 of the short side, and their mirror images;
    features are averaged over them."""
    batch: Count = 16
    """Windows embedded at once."""
    ignore_same_source: bool = False
    """Whether neighbours of the query's own source (the same original recording) are left out."""
    test_share: Share = 0.25
    """Share of sources held out for testing where the videos come without a split."""


class ClassifyConfig(Section):
    """Action recognition: a linear layer on a network, trained with labels by AdamW; see also train, clip, evaluate."""

    mode: Literal["probe", "finetune", "quick"] = "finetune"
    """probe: a linear layer over the frozen network; finetune: the network too; quick: the layer alone, in seconds, on
    the features that `vicc-ray evaluate` has made."""
    stream: Stream = "rgb"
    """The network that classifies; once both have, their mean probabilities are scored too."""
    batch: Annotated[int, Field(ge=2)] = 48
    """Videos of one global step, shared by all workers."""
    probe_epochs: Count = 100
    """Epochs of a probe."""
    finetune_epochs: Count = 500
    """Epochs of fine-tuning."""
    probe_learning_rate: Positive = 1e-3
    """Learning rate of a probe's linear layer at the start of the cosine."""
    finetune_learning_rate: Positive = 1e-3
    """The same of fine-tuning."""
    final_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.01
    """Share of the learning rate that is left at the end of the cosine."""
    warmup_epochs: CountOrZero = 0
    """Epochs of linear warm-up from 0."""
    backbone_rate: Share = 0.1
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
    def rates(self) -> OptimiserConfig:
        """Warm-up and cosine of the mode's learning rate."""
        rate = self.finetune_learning_rate if self.mode == "finetune" else self.probe_learning_rate
        return OptimiserConfig(
            learning_rate=rate, final_learning_rate=rate * self.final_share, warmup_epochs=self.warmup_epochs
        )


class RayConfig(Section):
    """What Ray may use when it is started on this machine (a running cluster has its own limits)."""

    cpus: CountOrZero = 0
    """Logical CPUs; 0: all of the machine."""
    object_store_mb: Annotated[int, Field(ge=80)] = 512
    """Size of the shared object store in MiB."""


class Config(Section):
    """A whole recipe."""

    name: str = "run"
    """Name of the recipe, shown in reports."""
    seed: CountOrZero = 0
    """Seed of weights, of the order of videos and of every random draw of a sample."""
    prepare: PrepareConfig = PrepareConfig()
    clip: ClipConfig = ClipConfig()
    model: ModelConfig = ModelConfig()
    method: MethodConfig = MethodConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    classify: ClassifyConfig = ClassifyConfig()
    ray: RayConfig = RayConfig()

    @model_validator(mode="after")
    def _clip_fits_backbone(self) -> Config:
        smallest = BACKBONES[self.model.backbone]
        if self.clip.frames < smallest.frames or self.clip.size < smallest.pixels:
            raise ValueError(
                f"clip: {self.clip.frames} frames of {self.clip.size} pixels given; model.backbone "
                f"{self.model.backbone} needs at least {smallest.frames} frames of {smallest.pixels} pixels"
            )
        return self

    @model_validator(mode="after")
    def _instances_of_one_stream(self) -> Config:
        schedule = self.schedule
        if self.method.contrast == "instances" and schedule.cycles and schedule.cross_stream:
            raise ValueError(
                f"method.contrast: instances given with schedule.cycles {schedule.cycles} and schedule.cross_stream "
                "true; instances are contrasted within a stream, so set schedule.cycles to 0, or "
                "schedule.cross_stream to false: then stage 2 trains each stream alone for as many steps"
            )
        return self
