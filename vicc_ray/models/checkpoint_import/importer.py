"""Import of the method's published checkpoints. F backbone features, D embedding, K prototypes.

A published ``.pth.tar`` is a torch file ``{"state_dict": ..., "epoch": ..., "optimizer": ...}``. Its state dict names
the optimised stream ``encoder_q.``, the other one ``second.`` (each: ``0.`` a backbone, ``2.`` and ``4.`` a head of
1x1x1 convolutions) and ``prototypes.weight``. The names inside a backbone are in a file for each, ``published_*.py``;
where two of them are one layer, they are twins and must hold the same tensor.
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
from typing import NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor

from vicc_ray.config import ClipConfig, ModelConfig, Stream
from vicc_ray.errors import UserError
from vicc_ray.models.checkpoint_import import r2plus1d, s3d
from vicc_ray.models.encoder import Encoder, build_encoder
from vicc_ray.models.weights_io import EncoderWeights, write_weights
from vicc_ray.utils.fs import atomic_write, unreadable
from vicc_ray.utils.local_paths import WRITTEN_HERE, local_path

State = dict[str, Tensor]
STREAMS = {"encoder": "encoder_q.", "second": "second."}
"""Our name of a stream -> its prefix in the file: encoder was optimised last, second was frozen meanwhile."""
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
"""What reading a file of arbitrary bytes as a torch file can raise."""


class Network(NamedTuple):
    """A published backbone that can be read."""

    backbone: str
    """Our name of it, as in ``model.backbone``."""
    title: str
    """What messages call it."""
    map_key: Callable[[str], str]
    """Published name of a tensor, without stream and number -> its name in our backbone, "" if there is none."""


NETWORKS = (
    Network("s3d", "S3D", s3d.map_key),
    Network("r2plus1d-small", "the small R(2+1)D", r2plus1d.map_key),
)


@dataclass
class PublishedWeights:
    """A published checkpoint in our names; each state fits ``build_encoder(config)``."""

    config: ModelConfig
    encoder: State
    second: State | None = None
    prototypes: Tensor | None = None
    """[K, D], of the optimised stream."""
    aliases: int = 0
    """Names that repeated another name's tensor."""
    unexpected_keys: list[str] = field(default_factory=list)
    """Names in the file that belong to neither stream nor the prototypes."""
    places: dict[str, str] = field(default_factory=dict)
    """Every other name in the file -> where its tensor went, as "encoder.backbone...", "second...." or
    "prototypes.weight"."""

    def build(self, stream: str = "encoder") -> Encoder:
        """The network of a stream, ``encoder`` or ``second``, with its weights.

        Raises:
            UserError: the checkpoint does not hold that stream.
        """
        state = {"encoder": self.encoder, "second": self.second}[stream]
        if state is None:
            raise UserError(f"the checkpoint holds one network only (no names that start with {STREAMS[stream]!r})")
        encoder = build_encoder(self.config)
        encoder.load_state_dict(state)
        return encoder.eval()


def read_published(path: Path) -> PublishedWeights:
    """Read a published checkpoint; nothing in it is executed.

    Raises:
        UserError: the file cannot be read, holds objects other than tensors and plain values, is of another format or
            of a backbone that is not available, or a name or shape does not fit.
    """
    return map_published(_state_dict(_load(path), path), str(path))


def map_published(state: State, path: str) -> PublishedWeights:
    """The published state dict under our names; ``path`` is named in errors.

    Raises:
        UserError: as :func:`read_published`, except for what concerns the file itself.
    """
    own = {stream: _without_prefix(state, prefix) for stream, prefix in STREAMS.items()}
    if not own["encoder"]:
        raise UserError(
            f"{path}: no names that start with 'encoder_q.' in its state_dict, so it is not a published pretraining "
            f"checkpoint; its first names are {', '.join(list(state)[:3]) or 'none'}"
        )
    network = _network(own["encoder"], path)
    head = own["encoder"].get("4.weight")
    embedding = len(head) if head is not None and head.dim() else 128
    config = ModelConfig(backbone=network.backbone, embedding=embedding)
    weights = PublishedWeights(config, _renamed(own["encoder"], network, config, f"{path}: encoder_q."))
    if own["second"]:
        weights.second = _renamed(own["second"], network, config, f"{path}: second.")
    for part, prefix in STREAMS.items():
        weights.places |= {prefix + name: f"{part}.{_map_key(name, network)}" for name in own[part]}
    weights.places |= {PROTOTYPES: PROTOTYPES} if PROTOTYPES in state else {}
    weights.prototypes = _prototypes(state, config, path)
    weights.aliases = sum(len(part) for part in own.values()) - len(weights.encoder) - len(weights.second or {})
    known = (*STREAMS.values(), PROTOTYPES)
    weights.unexpected_keys = [name for name in state if not name.startswith(known)]
    return weights


def import_weights(path: Path, out: Path, stream: Stream = "rgb") -> dict[str, object]:
    """Write a published checkpoint as safetensors into the folder ``out`` and return what went where.

    ``encoder.safetensors`` (the network that was optimised last) and ``second.safetensors`` are files of
    :mod:`vicc_ray.models.weights_io`; ``prototypes.safetensors`` holds ``weight`` [K, D]; ``import.json`` is the
    returned record.

    Args:
        stream: of the network that was optimised last: the file does not tell.

    Raises:
        UserError: see :func:`read_published`, or ``out`` cannot be written.
    """
    out = local_path(out, WRITTEN_HERE)
    weights = read_published(path)
    parts = {"encoder": weights.encoder, "second": weights.second}
    streams: dict[str, Stream] = {"encoder": stream, "second": "flow" if stream == "rgb" else "rgb"}
    source = {"source": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    found = {name: part for name, part in parts.items() if part is not None}
    record: dict[str, object] = {
        **source,
        "model": weights.config.model_dump(),
        "files": {
            f"{name}.safetensors": {"stream": streams[name], "tensors": len(part), "values": _size(part)}
            for name, part in found.items()
        },
        "prototypes": None if weights.prototypes is None else list(weights.prototypes.shape),
        "twins": weights.aliases,
        "left_over": weights.unexpected_keys,
        "tensors": weights.places,
    }
    try:
        for name, part in found.items():
            described = EncoderWeights(streams[name], weights.config, ClipConfig(), part, source)
            write_weights(out / f"{name}.safetensors", described)
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
            f"{path}: refused and not run: it holds {what[1]}, and only tensors and plain values are read, "
            "because other objects in such a file can execute code"
        ) from error
    except UNREADABLE as error:
        raise (unreadable(path) or UserError(f"{path}: not a torch checkpoint, or a damaged one")) from error


def _check_archive(path: Path) -> None:
    """See that a file that is a ZIP archive is none that unpacks to more than it has; torch packs nothing.

    Raises:
        UserError: it is one.
    """
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return
    with zipfile.ZipFile(path) as archive:
        get_cached = sum(entry.file_size for entry in archive.infolist())
    if get_cached > path.stat().st_size:
        raise UserError(f"{path}: refused: it would unpack to {get_cached:,} bytes, more than a checkpoint of its size")


def _check_tensor(name: str, tensor: Tensor) -> None:
    """See that a tensor has as many values as are stored: one value may be said to be that of a billion places.

    Raises:
        ValueError: it has not.
    """
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_nested:
        raise ValueError(f"{name} is no plain tensor")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"{name} of {list(tensor.shape)} has fewer values than places")


def _state_dict(content: object, path: Path) -> State:
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        names = ", ".join(map(str, list(content)[:5])) if isinstance(content, Mapping) else type(content).__name__
        raise UserError(f"{path}: not a published checkpoint: it has no state_dict; it holds {names}")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UserError(f"{path}: state_dict entry {name!r} is {type(value).__name__}; a tensor was expected")
        try:
            _check_tensor(name, value)
        except (ValueError, RuntimeError) as error:
            raise UserError(f"{path}: state_dict entry {error}; it is no published checkpoint") from None
    return dict(state)


def _without_prefix(state: State, prefix: str) -> State:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _network(published: State, path: str) -> Network:
    """The network that knows most of the backbone's names; the others are told of one by one, where it is chosen."""
    names = [name.removeprefix("0.") for name in published if name.startswith("0.")]
    for network in NETWORKS:
        if 2 * sum(network.map_key(name) != "" for name in names) > len(names):
            return network
    raise UserError(
        f"{path}: the backbone in encoder_q.0 is none of those that can be read "
        f"({', '.join(network.title for network in NETWORKS)}); its first names are {', '.join(names[:3]) or 'none'}"
    )


def _renamed(published: State, network: Network, config: ModelConfig, where: str) -> State:
    """One stream's tensors under the names of our Encoder, complete, of the right shapes, each once."""
    with torch.device("meta"):
        wanted = build_encoder(config).state_dict()
    renamed: State = {}
    for name, tensor in published.items():
        ours = _map_key(name, network)
        if ours not in wanted:
            raise UserError(f"{where}{name}: no such layer in {network.title} with its projection head")
        value = tensor.flatten(1) if ours.startswith("head.") and tensor.dim() == 5 else tensor
        if value.shape != wanted[ours].shape:
            raise UserError(f"{where}{name}: shape {list(tensor.shape)} given, {list(wanted[ours].shape)} expected")
        if ours in renamed and not torch.equal(renamed[ours], value):
            raise UserError(f"{where}{name}: differs from its twin, another name of the same layer ({ours})")
        renamed[ours] = value.to(wanted[ours].dtype).contiguous()
    missing = [name for name in wanted if name not in renamed]
    if missing:
        raise UserError(f"{where}*: {len(missing)} of {len(wanted)} tensors are missing, the first is our {missing[0]}")
    return {name: renamed[name] for name in wanted}


def _map_key(name: str, network: Network) -> str:
    """Name of a published tensor in our Encoder, "" if there is none."""
    number, _, rest = name.partition(".")
    if number in HEAD:
        return f"{HEAD[number]}.{rest}"
    ours = network.map_key(rest) if number == "0" else ""
    return f"backbone.{ours}" if ours else ""


def _prototypes(state: State, config: ModelConfig, path: str) -> Tensor | None:
    weight = state.get(PROTOTYPES)
    if weight is not None and (weight.dim() != 2 or weight.shape[1] != config.embedding):
        raise UserError(f"{path}: {PROTOTYPES}: shape {list(weight.shape)} given, [K, {config.embedding}] expected")
    return None if weight is None else weight.float().contiguous()


def _size(state: State) -> int:
    return sum(tensor.numel() for tensor in state.values())
