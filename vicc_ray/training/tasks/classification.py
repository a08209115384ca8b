"""Classification task: linear probe or fine-tuning. K classes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vicc_ray.clip_store.fingerprint import CLIP_COLUMNS
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.clip_store.training_clips import check_flow_unit
from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.models.weights_io import EncoderWeights, read_weights, write_weights
from vicc_ray.runs.run_dir import FREE_TO_CHANGE, FreeSettings, RunDir
from vicc_ray.runs.run_inputs import RunInputs
from vicc_ray.runs.schedule import Phase
from vicc_ray.training.data.batch_sampler import GlobalBatchSampler
from vicc_ray.training.data.clip_batches import ClipBatchBuilder, sample_bytes
from vicc_ray.training.monitoring.diagnostics import Diagnostic
from vicc_ray.training.monitoring.epoch_stats import EpochStats
from vicc_ray.training.monitoring.rules import AT_CHANCE, PATIENCE
from vicc_ray.training.tasks.class_labels import ClassLabels
from vicc_ray.training.tasks.classifier_trainer import ClassifierTrainer
from vicc_ray.utils.fs import atomic_write
from vicc_ray.utils.json_file import read_json
from vicc_ray.video.flow import FlowUnit

NO_STAGE = 0
"""Stages 1 and 2 belong to pretraining."""


class Classification:
    """Supervised classification as a :class:`~vicc_ray.training.tasks.base.Task`, see :class:`ClassLabels`.

    Raises:
        UserError: labels or settings do not allow classification.
    """

    kind = "classification"
    has_validation = False

    def __init__(self, config: Config, store: ClipStore, folder: RunDir) -> None:
        settings = config.classify
        self.config, self.store, self.folder = config, store, folder
        self.clip = settings.training_clip(config.clip)
        self.labelling = ClassLabels.of(store.entries.column("label"), store.entries.column("split"))
        self.videos = store.entries.where(self.labelling.train)
        self.labels = torch.from_numpy(self.labelling.numbers(self.videos.column("label")))
        self._check_batch()
        check_flow_unit(store.settings, config.clip)
        self.sampler = GlobalBatchSampler(len(self.videos), settings.global_batch_size, config.seed)
        name, epochs = f"{settings.stream}-{settings.mode}", settings.epochs
        self.phases = [Phase(0, name, NO_STAGE, settings.stream, False, 0, epochs, epochs)]
        self.inputs = RunInputs.of(
            store,
            self.videos,
            self.sampler.steps_per_epoch(self.phases[0]),
            self.sampler.phase_ends(self.phases),
            (*CLIP_COLUMNS, "label"),
        )
        self.batch_bytes = settings.global_batch_size * sample_bytes(config.clip, (settings.stream,), views=1)
        self.rate = f"classify.{settings.mode}_learning_rate"
        self.divergence_hint = f"Lower {self.rate} or raise classify.warmup_epochs"

    def _check_batch(self) -> None:
        batch, workers = self.config.classify.global_batch_size, self.config.train.num_workers.max
        if batch > len(self.videos):
            raise UserError(
                f"classify.global_batch_size: {batch} given, but there are {len(self.videos)} training videos with "
                f"a label; "
                f"set classify.global_batch_size to {len(self.videos)} or less"
            )
        if batch < workers:
            raise UserError(
                f"train.num_workers: {workers} workers given for a global batch of {batch}; every worker takes at "
                f"least "
                f"one video of each step, so set train.num_workers to {batch} or less, or raise "
                f"classify.global_batch_size"
            )

    def record_start(self, weights: EncoderWeights) -> None:
        """Record the initial weights in the opened folder, or check them against the record.

        Raises:
            UserError: the folder was started from other weights.
        """
        start, facts = self.folder.path / "start.safetensors", self.folder.classes_file
        record = {"classes": self.labelling.classes, "network": weights.fingerprint, "from": _origin(weights)}
        recorded = (
            read_json(facts, "the classes of a classification", "remove its folder") if facts.exists() else record
        )
        if recorded.get("network") != weights.fingerprint:
            raise UserError(
                f"{self.folder.path} started from another network ({recorded.get('from')}, now {_origin(weights)}); "
                f"give that network to resume it; remove {self.folder.path} to start over, or choose another folder"
            )
        if not facts.exists():
            write_weights(start, weights)
        atomic_write(facts, json.dumps(record))

    def trainer(self, device: torch.device) -> ClassifierTrainer:
        """Trainer with the weights that :meth:`record_start` recorded and new classifier layers."""
        encoder = read_weights(self.folder.path / "start.safetensors").build()
        unit = FlowUnit.of(self.store.settings)
        return ClassifierTrainer(self.config, device, encoder, self.labels, len(self.labelling.classes), unit)

    def builder(self, phase: Phase, rank: int, workers: int) -> ClipBatchBuilder:
        """Builder of one clip per video."""
        return ClipBatchBuilder(
            self.store, self.videos, self.sampler, self.clip, (phase.stream,), rank, workers, views=1
        )

    def epoch_stats(self, phase: Phase, device: torch.device) -> EpochStats:
        """Statistics of steps alone."""
        return EpochStats(0, 0, self.sampler.batch, device)

    def step_constants(self, phase: Phase) -> Mapping[str, float]:
        """No constants."""
        return {}

    def diagnose(self, phase: Phase, epochs: Sequence[Mapping[str, Any]]) -> list[Diagnostic]:
        """Diagnostic of a loss that stays at chance."""
        recent = epochs[self.config.classify.warmup_epochs :][-PATIENCE:]
        if len(recent) < PATIENCE or not all(_at_chance(epoch) for epoch in recent):
            return []
        rate = self.config.classify.rates.learning_rate
        text = (
            f"the loss has stayed for {PATIENCE} epochs at chance "
            f"({recent[-1]['loss']:.3f}; ln K, every class the same share, is {recent[-1]['chance_loss']:.3f}). Raise "
            f"{self.rate} (now {rate:g}) or lower classify.dropout (now {self.config.classify.dropout:g}), and check "
            "whether the labels belong to these videos."
        )
        return [Diagnostic("plateau_at_chance", text)]


def free_settings(mode: str) -> FreeSettings:
    """Settings that may change when a classification resumes."""
    other = {"finetune_epochs", "finetune_lr_steps"}
    if mode == "finetune":
        other = {"probe_epochs", "probe_learning_rate", "probe_lr_steps"}
    if mode == "probe":
        other |= {"finetune_learning_rate", "backbone_lr_mult", "dropout"}
    unused = {"prepare", "method", "stage2", "schedule", "optimizer"}
    train = {*FREE_TO_CHANGE["train"], "global_batch_size", "drop_last"}
    return {**FREE_TO_CHANGE, **dict.fromkeys(unused, "all"), "train": train, "classify": other}


def _origin(weights: EncoderWeights) -> str:
    card = weights.card
    name = str(card.get("checkpoint") or card.get("published") or "a file")
    return f"{name} {weights.fingerprint}"


def _at_chance(epoch: Mapping[str, Any]) -> bool:
    return epoch["loss"] is not None and epoch["loss"] >= AT_CHANCE * epoch["chance_loss"]
