"""Pretraining task: both streams alternate, and no label is used."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.clip_store.training_clips import check_flow_unit
from vicc_ray.config import Config
from vicc_ray.registry import OBJECTIVES
from vicc_ray.runs.run_inputs import RunInputs
from vicc_ray.runs.schedule import Phase, build_phases
from vicc_ray.training.data.batch_sampler import GlobalBatchSampler
from vicc_ray.training.data.clip_batches import ClipBatchBuilder
from vicc_ray.training.monitoring.diagnostics import Diagnostic, diagnose_phase
from vicc_ray.training.monitoring.epoch_stats import EpochStats
from vicc_ray.training.tasks.pretrainer import Pretrainer
from vicc_ray.training.validation.evaluator import ValidationSet
from vicc_ray.training.validation.split import training_videos
from vicc_ray.training.workload import check_batches, largest_batch_bytes
from vicc_ray.video.flow import FlowUnit


class Pretraining:
    """Self-supervised pretraining as a :class:`~vicc_ray.training.tasks.base.Task`.

    Raises:
        UserError: a stage's global batch does not fit its queue, the workers or the number of videos; the clips do not
            fit the store's flow.
    """

    kind = "pretraining"
    divergence_hint = "Lower optimizer.learning_rate or raise optimizer.warmup_epochs"

    def __init__(self, config: Config, store: ClipStore) -> None:
        check_batches(config)
        check_flow_unit(store.settings, config.clip)
        self.config, self.store = config, store
        self.phases = build_phases(config.schedule)
        self.videos = training_videos(store.entries, config.train.validation_fraction)
        self.sampler = GlobalBatchSampler.of_run(len(self.videos), config, self.phases)
        self.inputs = RunInputs.of(
            store, self.videos, self.sampler.steps_per_epoch(self.phases[0]), self.sampler.phase_ends(self.phases)
        )
        self.batch_bytes = largest_batch_bytes(config, self.phases)

    @cached_property
    def has_validation(self) -> bool:
        """Whether there are labeled videos to train on and to validate with."""
        checked = bool(self.config.train.validate_every_epochs)
        return checked and ValidationSet.choose(self.store.entries, self.config) is not None

    def trainer(self, device: torch.device) -> Pretrainer:
        """Trainer with initial weights of both encoders."""
        return Pretrainer(self.config, device, FlowUnit.of(self.store.settings))

    def builder(self, phase: Phase, rank: int, workers: int) -> ClipBatchBuilder:
        """Builder of two clips per video, of both streams in a cross-stream phase."""
        first_step = self.sampler.first_step(phase.first_epoch)
        source = (self.store, self.videos, self.sampler, self.config.clip, phase.streams)
        return ClipBatchBuilder(*source, rank, workers, first_step=first_step)

    def epoch_stats(self, phase: Phase, device: torch.device) -> EpochStats:
        """Statistics of steps, embeddings and prototypes."""
        config = self.config.of_stage(phase.stage)
        return EpochStats(config.method.num_prototypes, config.model.embed_dim, config.train.global_batch_size, device)

    def step_constants(self, phase: Phase) -> Mapping[str, float]:
        """``ln_k``, the loss and entropy of a uniform assignment; none without prototypes."""
        if not OBJECTIVES[self.config.method.objective].has_prototypes:
            return {}
        return {"ln_k": math.log(self.config.of_stage(phase.stage).method.num_prototypes)}

    def diagnose(self, phase: Phase, epochs: Sequence[Mapping[str, Any]]) -> list[Diagnostic]:
        """Diagnostics of collapse and divergence."""
        return diagnose_phase(epochs, self.config.of_stage(phase.stage))
