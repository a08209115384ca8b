"""Initial checkpoint made of two stage-1 networks, so that a run begins with stage 2. D embedding, K prototypes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vicc_ray.config import Config, Stream
from vicc_ray.errors import UserError
from vicc_ray.export.pretrained import PUBLISHED_SUFFIXES, find_weights
from vicc_ray.models.checkpoint_import.importer import read_published
from vicc_ray.models.weights_io import EncoderWeights
from vicc_ray.runs.checkpoint_manager import CheckpointManager
from vicc_ray.runs.checkpoint_state import STATE, load_prototypes, take_snapshot
from vicc_ray.runs.schedule import STREAMS, Phase, build_phases
from vicc_ray.training.tasks.pretrainer import Pretrainer

FOLDER = "initial"
"""Folder of a run that holds such checkpoints."""


def stage1_checkpoint(run_dir: Path, config: Config, sources: Mapping[Stream, Path]) -> Path:
    """Write the checkpoint after stage 1 whose networks are those of ``sources``; return its folder in the run.

    Prototypes come from published files and checkpoints; those of other files start fresh. The same networks give the
    same folder.

    Args:
        sources: a file, run or checkpoint for each stream (:func:`vicc_ray.export.pretrained.find_weights`).

    Raises:
        UserError: a stream has no source, a network is not that of ``model``, or the schedule has no stage 1 or 2.
    """
    if missing := [stream for stream in STREAMS if stream not in sources]:
        raise UserError(f"--init-{missing[0]} is missing: stage 2 starts from a network of each stream")
    phase = _last_of_stage1(config)
    networks = {stream: find_weights(path, stream) for stream, path in sources.items()}
    for stream, weights in networks.items():
        _check_model(weights, config, f"--init-{stream} {sources[stream]}")
    folder = run_dir / FOLDER / "-".join(networks[stream].fingerprint for stream in STREAMS)
    if not (folder / STATE).exists():
        trainer = Pretrainer(config, torch.device("cpu"))
        for stream, weights in networks.items():
            trainer.encoders[stream].load_state_dict(weights.tensors)
            _load_prototypes(trainer, stream, sources[stream])
        trainer.start_phase(phase)
        _write(trainer, phase, config, folder)
    return folder


def _last_of_stage1(config: Config) -> Phase:
    phases = build_phases(config.schedule)
    first = [phase for phase in phases if phase.stage == 1]
    if not first or len(first) == len(phases):
        raise UserError(
            "--init-rgb and --init-flow start a run with stage 2, and the schedule has "
            f"{'stage 1 only' if first else 'no stage 1'}; set schedule.rgb_epochs, flow_epochs and cycles above 0; the"
            " epochs of stage 1 are skipped"
        )
    return first[-1]


def _check_model(weights: EncoderWeights, config: Config, given: str) -> None:
    for name, value in weights.model.model_dump(exclude={"init"}).items():
        wanted = getattr(config.model, name)
        if value != wanted:
            raise UserError(
                f"{given}: its model.{name} is {value}, and the recipe says {wanted}; set model.{name}={value}"
            )


def _load_prototypes(trainer: Pretrainer, stream: Stream, source: Path) -> None:
    prototypes = _prototypes_of(source, stream)
    if prototypes is not None:
        trainer.prototypes[stream].load_state_dict({"weight": prototypes})


def _prototypes_of(source: Path, stream: Stream) -> Tensor | None:
    """Prototypes [K, D] of a published file or a checkpoint folder; None of other sources."""
    if source.is_file() and source.name.endswith(PUBLISHED_SUFFIXES):
        return read_published(source).prototypes
    return load_prototypes(source, stream) if (source / STATE).is_file() else None


def _write(trainer: Pretrainer, phase: Phase, config: Config, folder: Path) -> None:
    """Write the checkpoint atomically. Its step is 0: another run's epochs count, and not its steps."""
    snapshot = take_snapshot(trainer, 0, phase.last_epoch, config.model_dump(mode="json"))
    try:
        with CheckpointManager(folder.parent).commit(folder.name) as tmp:
            snapshot.write(tmp)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); choose another folder with --run") from error
