"""Contents of a checkpoint: the complete state of a run as safetensors and JSON, nothing pickled.

model.safetensors      networks. Pretraining: both encoders and both prototype sets. Classification: the encoder, under
                       the same name, and its classifier layers
optimizer.safetensors  optimizer and, in pretraining, the queue of the current phase
state.json             position in the schedule and the data, settings, training inputs, format
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vicc_ray.errors import UserError
from vicc_ray.runs.run_inputs import RunInputs
from vicc_ray.runs.schedule import Phase
from vicc_ray.utils.fs import create, unreadable
from vicc_ray.utils.json_file import read_json, validate_as
from vicc_ray.utils.regular_file import open_regular

FORMAT = 3
MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
DAMAGED = "the checkpoint is damaged, remove its folder"
PROGRESS = "progress."
"""Prefix in optimizer.safetensors of the trainer's further state: the queue, the momentum encoder."""


class Checkpointable(Protocol):
    """A trainer, as checkpoints see it: what they save and restore."""

    phase: Phase
    """The current phase."""
    optimizer: torch.optim.Optimizer
    """Optimizer of the current phase."""

    def modules(self) -> dict[str, nn.Module]:
        """Modules whose state is saved, by the prefix of their tensors' names."""
        ...

    def progress_tensors(self) -> dict[str, Tensor]:
        """Further state of the current phase, beyond modules and optimizer; not copies."""
        ...

    def load_progress_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what :meth:`progress_tensors` returned; its phase must have been started."""
        ...


@dataclass(frozen=True)
class _State:
    """Schema of ``state.json`` without its format; values that do not fit the run are refused where they are used."""

    step: Annotated[int, Field(ge=0, lt=2**53)]
    epoch: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    phase: Annotated[int, Field(ge=0)] = 0
    groups: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    inputs: RunInputs | None = None


@dataclass(frozen=True)
class Snapshot:
    """State of a run at one step, copied to the host: training continues while it is written."""

    model: dict[str, Tensor]
    progress: dict[str, Tensor]
    state: dict[str, Any]

    @property
    def step(self) -> int:
        """Global steps completed."""
        return int(self.state["step"])

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(value.numel() * value.element_size() for value in (*self.model.values(), *self.progress.values()))

    def write(self, folder: Path) -> None:
        """Write into an existing empty folder; the caller commits the folder."""
        for name, tensors in ((MODEL, self.model), (OPTIMIZER, self.progress)):
            mode = create(folder / name)
            save_file(tensors, folder / name)
            (folder / name).chmod(mode)  # safetensors creates files that only the owner reads
        (folder / STATE).write_text(json.dumps(self.state, indent=1))


def take_snapshot(
    trainer: Checkpointable, step: int, epoch: float, settings: dict[str, Any], inputs: Mapping[str, Any] | None = None
) -> Snapshot:
    """Snapshot of a run between two steps.

    It holds no random state: every draw of a step depends on (seed, step) and (seed, epoch, id) alone.

    Args:
        step: global steps completed.
        epoch: epochs of samples that these steps consumed.
        settings: settings of the run, for the record.
        inputs: training inputs (:class:`vicc_ray.runs.run_inputs.RunInputs`); a run cannot resume without them.
    """
    tensors, groups = _flatten(trainer.optimizer.state_dict())
    tensors |= {PROGRESS + name: value for name, value in trainer.progress_tensors().items()}
    state = {"format": FORMAT, "step": step, "epoch": epoch, "phase": trainer.phase.index, "groups": groups}
    return Snapshot(
        _copy_to_host(model_tensors(trainer)), _copy_to_host(tensors), {**state, "settings": settings, "inputs": inputs}
    )


def _copy_to_host(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}


def read_state(folder: Path) -> dict[str, Any]:
    """Validated state.json of a checkpoint.

    Raises:
        UserError: the folder is not a checkpoint, or has another format.
    """
    remedy = "give a folder inside RUN/checkpoints; remove it if it is damaged"
    try:
        state = read_json(folder / STATE, "the state of a checkpoint", remedy)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder}: not a checkpoint (no {STATE}); {remedy}") from None
    if state.get("format") != FORMAT:
        raise UserError(
            f"{folder}: checkpoint format {str(state.get('format'))[:20]}, this version reads format {FORMAT}"
        )
    try:
        return {**vars(validate_as(state, _State)), **state}
    except ValueError as error:
        raise UserError(f"{folder / STATE} cannot be read as the state of a checkpoint ({error}); {remedy}") from None


def read_inputs(folder: Path) -> RunInputs | None:
    """Training inputs of a checkpoint's run; None where they are not recorded."""
    inputs = read_state(folder).get("inputs")
    return None if inputs is None else validate_as(inputs, RunInputs)


def load_model(folder: Path, trainer: Checkpointable) -> None:
    """Load the networks of a checkpoint into a trainer.

    Raises:
        UserError: the weights do not fit the configured networks.
    """
    tensors = read_model(folder)
    for prefix, module in trainer.modules().items():
        try:
            module.load_state_dict(_with_prefix(tensors, prefix))
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{folder / MODEL} does not fit the configured model: {reason}") from error


def load_progress(folder: Path, trainer: Checkpointable) -> None:
    """Load the optimizer and the state of the phase, which must have been started."""
    tensors = _read(folder / OPTIMIZER)
    progress = {k.removeprefix(PROGRESS): v for k, v in tensors.items() if k.startswith(PROGRESS)}
    trainer.load_progress_tensors(progress)
    optimizer = {k: v for k, v in tensors.items() if not k.startswith(PROGRESS)}
    try:
        trainer.optimizer.load_state_dict(_unflatten(optimizer, read_state(folder)["groups"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / OPTIMIZER} does not fit the optimizer ({error}); {DAMAGED}") from error


def model_tensors(trainer: Checkpointable) -> dict[str, Tensor]:
    """Tensors of model.safetensors by name: ``rgb.encoder.…`` and so on."""
    return {
        prefix + name: value.detach()
        for prefix, module in trainer.modules().items()
        for name, value in module.state_dict().items()
    }


def read_model(folder: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint's model.safetensors.

    Raises:
        UserError: the file is damaged.
    """
    return _read(folder / MODEL)


def load_encoder_tensors(folder: Path, stream: str) -> dict[str, Tensor]:
    """State dict of one stream's encoder, from a checkpoint."""
    return _with_prefix(read_model(folder), f"{stream}.encoder.")


def load_prototypes(folder: Path, stream: str) -> Tensor:
    """Prototypes [K, D] of one stream, from a checkpoint."""
    try:
        return _with_prefix(read_model(folder), f"{stream}.prototypes.")["weight"]
    except KeyError:
        raise UserError(f"{folder / MODEL}: no prototypes of {stream}; {DAMAGED}") from None


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _read(path: Path) -> dict[str, Tensor]:
    try:
        open_regular(path).close()
        return load_file(path)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        damaged = UserError(f"{path}: cannot be read ({error}); {DAMAGED}")
        raise (unreadable(path) or damaged) from error


def _flatten(state: dict[str, Any]) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """State of an optimizer as tensors named ``<parameter>.<key>``, and its parameter groups."""
    tensors = {}
    for index, values in state["state"].items():
        for key, value in values.items():
            tensors[f"{index}.{key}"] = torch.as_tensor(value)
    return tensors, state["param_groups"]


def _unflatten(tensors: dict[str, Tensor], groups: list[dict[str, Any]]) -> dict[str, Any]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    return {"state": state, "param_groups": groups}
