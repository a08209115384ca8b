"""Import of the method's published checkpoints. F backbone features, D embedding, K prototypes.

A published ``.pth.tar`` is a torch file ``{"state_dict": ..., "epoch": ..., "optimizer": ...}``. The keys of its state
dict start with ``encoder_q.`` (the stream that was optimized last), ``second.`` (the frozen stream) or are
``prototypes.weight``. Within a stream, ``0.`` is the backbone; ``2.`` and ``4.`` are a head of 1x1x1 convolutions. A
module for each backbone maps its keys to ours. Two keys of one layer are aliases and must hold the same tensor.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor

from vicc_ray.config import ClipConfig, ModelConfig, Stream
from vicc_ray.errors import UserError
from vicc_ray.models.checkpoint_import import r2plus1d, s3d
from vicc_ray.models.encoder import Encoder, build_encoder
from vicc_ray.models.input_convention import PUBLISHED_CROP_SHARE
from vicc_ray.models.weights_io import EncoderWeights, write_weights
from vicc_ray.utils.fs import atomic_write, unreadable
from vicc_ray.utils.local_paths import WRITTEN_HERE, local_path

State = dict[str, Tensor]
STREAMS = {"encoder": "encoder_q.", "second": "second."}
"""Our name of a stream -> its prefix in the file. "encoder" was optimized last, while "second" was frozen."""
PROTOTYPES = "prototypes.weight"
HEAD = {"2": "head.0", "4": "head.2"}
UNREADABLE = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    zipfile.BadZipFile,
    RecursionError,
    MemoryError,
)
"""Exceptions that ``torch.load`` can raise for arbitrary bytes."""


class CheckpointLayout(NamedTuple):
    """Keys of one published backbone."""

    model: str
    """Name of our backbone, as in ``model.backbone``."""
    title: str
    """Name of the published network in messages."""
    map_key: Callable[[str], str]
    """Published key of a tensor, without stream and number -> key in our backbone, or "" if it has no such layer."""


LAYOUTS = (
    CheckpointLayout("s3d", "S3D", s3d.map_key),
    CheckpointLayout("r2plus1d-small", "the small R(2+1)D", r2plus1d.map_key),
)


@dataclass
class PublishedWeights:
    """A published checkpoint under our keys; each state dict loads into ``build_encoder(config)``."""

    config: ModelConfig
    encoder: State
    second: State | None = None
    prototypes: Tensor | None = None
    """[K, D], of the stream that was optimized last."""
    aliases: int = 0
    """Number of keys that repeat the tensor of another key."""
    unexpected_keys: list[str] = field(default_factory=list)
    """Keys in the file that belong to neither stream nor the prototypes."""
    key_map: dict[str, str] = field(default_factory=dict)
    """Every other key in the file -> our key, as "encoder.backbone...", "second...." or "prototypes.weight"."""

    def build(self, stream: str = "encoder") -> Encoder:
        """Network of a stream, "encoder" or "second", with its weights, in eval mode.

        Raises:
            UserError: the checkpoint does not hold that stream.
        """
        encoder = build_encoder(self.config)
        encoder.load_state_dict(self._state(stream))
        return encoder.eval()

    def describe(self, part: str, stream: Stream, card: dict[str, Any]) -> EncoderWeights:
        """Network of a part, "encoder" or "second", with the published clips and input.

        Args:
            stream: its input, which the checkpoint does not say.
            card: provenance.

        Raises:
            UserError: the checkpoint does not hold that part.
        """
        return EncoderWeights(stream, self.config, ClipConfig(), self._state(part), card, PUBLISHED_CROP_SHARE)

    def _state(self, part: str) -> State:
        state = {"encoder": self.encoder, "second": self.second}[part]
        if state is None:
            raise UserError(f"the checkpoint holds one network only: none of its keys starts with {STREAMS[part]!r}")
        return state


def read_published(path: Path) -> PublishedWeights:
    """Read a published checkpoint. Nothing in it is executed.

    Raises:
        UserError: the file cannot be read, holds objects other than tensors and plain values, has another format or
            an unknown backbone, or a key or shape does not match.
    """
    return map_published(_state_dict(_load(path), path), str(path))


def map_published(state: State, path: str) -> PublishedWeights:
    """Map a published state dict to our keys.

    Args:
        path: source of the state dict, for error messages.

    Raises:
        UserError: the backbone is unknown, or a key or shape does not match.
    """
    streams = {stream: _without_prefix(state, prefix) for stream, prefix in STREAMS.items()}
    if not streams["encoder"]:
        raise UserError(
            f"{path}: not a published pretraining checkpoint: no key of its state_dict starts with 'encoder_q.'; its "
            f"first keys are {', '.join(list(state)[:3]) or 'none'}"
        )
    layout = _detect_layout(streams["encoder"], path)
    head = streams["encoder"].get("4.weight")
    embedding = len(head) if head is not None and head.dim() else 128
    config = ModelConfig(backbone=layout.model, embed_dim=embedding, flow_input="picture")
    weights = PublishedWeights(config, _renamed(streams["encoder"], layout, config, f"{path}: encoder_q."))
    if streams["second"]:
        weights.second = _renamed(streams["second"], layout, config, f"{path}: second.")
    for part, prefix in STREAMS.items():
        weights.key_map |= {prefix + name: f"{part}.{_map_key(name, layout)}" for name in streams[part]}
    weights.key_map |= {PROTOTYPES: PROTOTYPES} if PROTOTYPES in state else {}
    weights.prototypes = _prototypes(state, config, path)
    weights.aliases = sum(len(part) for part in streams.values()) - len(weights.encoder) - len(weights.second or {})
    known = (*STREAMS.values(), PROTOTYPES)
    weights.unexpected_keys = [name for name in state if not name.startswith(known)]
    return weights


def import_weights(path: Path, out: Path, stream: Stream = "rgb") -> dict[str, object]:
    """Convert a published checkpoint to safetensors in the folder ``out``; return the record of the import.

    ``encoder.safetensors`` (the network that was optimized last) and ``second.safetensors`` have the format of
    :mod:`vicc_ray.models.weights_io`. ``prototypes.safetensors`` holds ``weight`` [K, D]. ``import.json`` holds the
    returned record.

    Args:
        stream: input of the network that was optimized last; the checkpoint does not say.

    Raises:
        UserError: the checkpoint cannot be imported (:func:`read_published`), or ``out`` cannot be written.
    """
    out = local_path(out, WRITTEN_HERE)
    weights = read_published(path)
    parts = {"encoder": weights.encoder, "second": weights.second}
    streams: dict[str, Stream] = {"encoder": stream, "second": "flow" if stream == "rgb" else "rgb"}
    source: dict[str, Any] = {"source": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    present = {name: part for name, part in parts.items() if part is not None}
    record: dict[str, object] = {
        **source,
        "model": weights.config.model_dump(),
        "files": {
            f"{name}.safetensors": {"stream": streams[name], "tensors": len(part), "values": _size(part)}
            for name, part in present.items()
        },
        "prototypes": None if weights.prototypes is None else list(weights.prototypes.shape),
        "aliases": weights.aliases,
        "unexpected_keys": weights.unexpected_keys,
        "tensors": weights.key_map,
    }
    try:
        for name in present:
            write_weights(out / f"{name}.safetensors", weights.describe(name, streams[name], source))
        if weights.prototypes is not None:
            atomic_write(out / "prototypes.safetensors", save({"weight": weights.prototypes}))
        atomic_write(out / "import.json", json.dumps(record, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror}); choose another folder with --out") from error
    return record


def _load(path: Path) -> object:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        _check_archive(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = re.search(r"GLOBAL (\S+)", str(error))
        if what is None:
            raise UserError(f"{path}: not a torch checkpoint, or a damaged one") from error
        raise UserError(
            f"{path}: refused, and nothing in it was executed: it holds {what[1]}; only tensors and plain values are "
            "read, because other objects can execute code"
        ) from error
    except UNREADABLE as error:
        raise (unreadable(path) or UserError(f"{path}: not a torch checkpoint, or a damaged one")) from error


def _check_archive(path: Path) -> None:
    """Refuse a ZIP bomb: torch stores members uncompressed, so an archive never unpacks to more than its size.

    Raises:
        UserError: the file is a ZIP archive of compressed members.
    """
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > path.stat().st_size:
        raise UserError(f"{path}: refused: it unpacks to {unpacked:,} bytes, which is more than the file has")


def _check_tensor(name: str, tensor: Tensor) -> None:
    """Check that a tensor's storage holds all of its elements; a stride of 0 can make a billion of a single one.

    Raises:
        ValueError: it does not, or the tensor is sparse, quantized, nested or not on the CPU.
    """
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_nested:
        raise ValueError(f"{name} is not a dense CPU tensor")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"{name}: fewer values are stored than its shape {list(tensor.shape)} has")


def _state_dict(content: object, path: Path) -> State:
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        names = ", ".join(map(str, list(content)[:5])) if isinstance(content, Mapping) else type(content).__name__
        raise UserError(f"{path}: not a published checkpoint: it has no state_dict, but {names}")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UserError(f"{path}: state_dict entry {name!r} is {type(value).__name__}, a tensor is expected")
        try:
            _check_tensor(name, value)
        except (ValueError, RuntimeError) as error:
            raise UserError(f"{path}: not a published checkpoint: state_dict entry {error}") from None
    return dict(state)


def _without_prefix(state: State, prefix: str) -> State:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _detect_layout(published: State, path: str) -> CheckpointLayout:
    """Layout that maps more than half of the backbone's keys; :func:`_renamed` reports the others."""
    names = [name.removeprefix("0.") for name in published if name.startswith("0.")]
    for layout in LAYOUTS:
        if 2 * sum(layout.map_key(name) != "" for name in names) > len(names):
            return layout
    raise UserError(
        f"{path}: unknown backbone in encoder_q.0; supported are "
        f"{', '.join(layout.title for layout in LAYOUTS)}; its first keys are {', '.join(names[:3]) or 'none'}"
    )


def _renamed(published: State, layout: CheckpointLayout, config: ModelConfig, where: str) -> State:
    """Tensors of one stream under the keys of our Encoder: complete, in its shapes and dtypes."""
    with torch.device("meta"):
        wanted = build_encoder(config).state_dict()
    renamed: State = {}
    for name, tensor in published.items():
        ours = _map_key(name, layout)
        if ours not in wanted:
            raise UserError(f"{where}{name}: no such layer in {layout.title} with its projection head")
        value = tensor.flatten(1) if ours.startswith("head.") and tensor.dim() == 5 else tensor
        if value.shape != wanted[ours].shape:
            raise UserError(f"{where}{name}: shape {list(tensor.shape)} given, {list(wanted[ours].shape)} expected")
        if ours in renamed and not torch.equal(renamed[ours], value):
            raise UserError(f"{where}{name}: differs from its alias, another key of the same layer ({ours})")
        renamed[ours] = value.to(wanted[ours].dtype).contiguous()
    missing = [name for name in wanted if name not in renamed]
    if missing:
        raise UserError(f"{where}*: {len(missing)} of {len(wanted)} tensors are missing, the first is {missing[0]}")
    return {name: renamed[name] for name in wanted}


def _map_key(name: str, layout: CheckpointLayout) -> str:
    """Key of a published tensor in our Encoder, or "" if it has no such layer."""
    number, _, rest = name.partition(".")
    if number in HEAD:
        return f"{HEAD[number]}.{rest}"
    ours = layout.map_key(rest) if number == "0" else ""
    return f"backbone.{ours}" if ours else ""


def _prototypes(state: State, config: ModelConfig, path: str) -> Tensor | None:
    weight = state.get(PROTOTYPES)
    if weight is not None and (weight.dim() != 2 or weight.shape[1] != config.embed_dim):
        raise UserError(f"{path}: {PROTOTYPES}: shape {list(weight.shape)} given, [K, {config.embed_dim}] expected")
    return None if weight is None else weight.float().contiguous()


def _size(state: State) -> int:
    return sum(tensor.numel() for tensor in state.values())
