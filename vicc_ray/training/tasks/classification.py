"""Linear probe and fine-tuning as a :class:`~vicc_ray.training.tasks.base.Task`; K classes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vicc_ray.clip_store.fingerprint import CLIP_COLUMNS
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.models.weights_io import EncoderWeights, read_weights, write_weights
from vicc_ray.runs.run_dir import FREE_TO_CHANGE, FreeSettings, RunDir
from vicc_ray.runs.run_inputs import RunInputs
from vicc_ray.runs.schedule import Phase
from vicc_ray.training.data.batch_sampler import GlobalBatchSampler
from vicc_ray.training.data.clip_batches import ClipBatchBuilder, sample_bytes
from vicc_ray.training.monitoring.diagnostics import PATIENCE, STUCK, Diagnostic
from vicc_ray.training.monitoring.epoch_stats import EpochStats
from vicc_ray.training.tasks.class_labels import ClassLabels
from vicc_ray.training.tasks.classifier_trainer import ClassifierTrainer
from vicc_ray.utils.fs import atomic_write
from vicc_ray.utils.json_file import read_json

NO_STAGE = 0
"""The method's stages are 1 and 2."""


class Classification:
    """The classes are those of the split train; see :class:`ClassLabels` for what is left out.

    Raises:
        UserError: labels or settings do not allow it.
    """

    kind = "classification"
    has_validation = False

    def __init__(self, config: Config, store: ClipStore, folder: RunDir) -> None:
        settings = config.classify
        self.config, self.store, self.folder = config, store, folder
        self.labelling = ClassLabels.of(store.entries.column("label"), store.entries.column("split"))
        self.videos = store.entries.where(self.labelling.train)
        self.labels = torch.from_numpy(self.labelling.numbers(self.videos.column("label")))
        self._check_batch()
        self.sampler = GlobalBatchSampler(len(self.videos), settings.batch, config.seed)
        name, epochs = f"{settings.stream}-{settings.mode}", settings.epochs
        self.phases = [Phase(0, name, NO_STAGE, settings.stream, False, 0, epochs, epochs)]
        self.inputs = RunInputs.of(
            store,
            self.videos,
            self.sampler.steps_per_epoch,
            self.sampler.phase_ends(self.phases),
            (*CLIP_COLUMNS, "label"),
        )
        self.batch_bytes = settings.batch * sample_bytes(config.clip, (settings.stream,), views=1)
        self.rate = f"classify.{settings.mode}_learning_rate"
        self.divergence_hint = f"Lower {self.rate} or raise classify.warmup_epochs"

    def _check_batch(self) -> None:
        batch, workers = self.config.classify.batch, self.config.train.workers.max
        if batch > len(self.videos):
            raise UserError(
                f"classify.batch: {batch} given, but there are {len(self.videos)} training videos with a label; "
                f"set classify.batch to {len(self.videos)} or less"
            )
        if batch < workers:
            raise UserError(
                f"train.workers: {workers} workers given for a global batch of {batch}; every worker takes at least "
                f"one video of each step, so set train.workers to {batch} or less, or raise classify.batch"
            )

    def begin(self, weights: EncoderWeights) -> None:
        """Keep in the opened folder what training starts from, or check that it is the same as before.

        Raises:
            UserError: the folder was begun with another network.
        """
        start, facts = self.folder.path / "start.safetensors", self.folder.classes_file
        known = {"classes": self.labelling.classes, "network": weights.fingerprint, "from": _origin(weights)}
        before = read_json(facts, "what a classification learns", "remove its folder") if facts.exists() else known
        if before.get("network") != weights.fingerprint:
            raise UserError(
                f"{self.folder.path} was started from another network ({before.get('from')}, now {_origin(weights)}): "
                f"give that one to go on with it; remove {self.folder.path} to start anew, or choose another folder"
            )
        if not facts.exists():
            write_weights(start, weights)
        atomic_write(facts, json.dumps(known))

    def trainer(self, device: torch.device) -> ClassifierTrainer:
        """The network that :meth:`begin` kept, with a new layer."""
        encoder = read_weights(self.folder.path / "start.safetensors").build()
        return ClassifierTrainer(self.config, device, encoder, self.labels, len(self.labelling.classes))

    def builder(self, phase: Phase, rank: int, workers: int) -> ClipBatchBuilder:
        """One clip a video."""
        return ClipBatchBuilder(
            self.store, self.videos, self.sampler, self.config.clip, (phase.stream,), rank, workers, views=1
        )

    def epoch_stats(self, phase: Phase, device: torch.device) -> EpochStats:
        """Of neither prototypes nor embeddings."""
        return EpochStats(0, 0, self.sampler.batch, device)

    def step_constants(self, phase: Phase) -> Mapping[str, float]:
        """None more."""
        return {}

    def diagnose(self, phase: Phase, epochs: Sequence[Mapping[str, Any]]) -> list[Diagnostic]:
        """Guesses that stay no better than chance."""
        recent = epochs[self.config.classify.warmup_epochs :][-PATIENCE:]
        if len(recent) < PATIENCE or not all(_at_chance(epoch) for epoch in recent):
            return []
        rate = self.config.classify.rates.learning_rate
        text = (
            f"the loss has stayed for {PATIENCE} epochs where guesses are no better than chance "
            f"({recent[-1]['loss']:.3f}; ln K, every class the same share, is {recent[-1]['chance_loss']:.3f}). Raise "
            f"{self.rate} (now {rate:g}) or lower classify.dropout (now {self.config.classify.dropout:g}), and look "
            "whether the labels are of these videos."
        )
        return [Diagnostic("stuck", text)]


def free_settings(mode: str) -> FreeSettings:
    """Settings that may change while a classification goes on."""
    other = {"probe_epochs", "probe_learning_rate"} if mode == "finetune" else {"finetune_epochs"}
    if mode == "probe":
        other |= {"finetune_learning_rate", "backbone_rate", "dropout"}
    unused = {"prepare", "method", "stage2", "schedule", "optimiser"}
    train = {*FREE_TO_CHANGE["train"], "batch"}
    return {**FREE_TO_CHANGE, **dict.fromkeys(unused, "all"), "train": train, "classify": other}


def _origin(weights: EncoderWeights) -> str:
    card = weights.card
    named = str(card.get("checkpoint") or card.get("published") or "a file")
    return f"{named} {weights.fingerprint}"


def _at_chance(epoch: Mapping[str, Any]) -> bool:
    return epoch["loss"] is not None and epoch["loss"] >= STUCK * epoch["chance_loss"]
