"""One network as one file that explains itself: safetensors whose header tells what the network is and what it takes.

The header's strings: ``format``, ``stream``, ``model`` and ``clip`` (JSON, as in a recipe), ``card`` (JSON, for
people).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vicc_ray.config import ClipConfig, ModelConfig, Stream
from vicc_ray.errors import UserError
from vicc_ray.models.backbones.base import backbone_class
from vicc_ray.models.encoder import Encoder, build_encoder
from vicc_ray.utils.fs import atomic_write, unreadable
from vicc_ray.utils.json_file import parse_json

FORMAT = "vicc_ray encoder 1"
REWRITE_HINT = "write it anew with `vicc-ray export` or `vicc-ray import-weights`"


@dataclass(frozen=True)
class EncoderWeights:
    """A trained network at rest; its parts travel between processes.

    Attributes:
        stream: what it takes, "rgb" or "flow".
        model: which network it is.
        clip: what clips it was trained with: ``frames``, ``step``, ``size`` and ``rescale_flow`` count.
        tensors: a state of :class:`Encoder`.
        card: where it comes from, for people.
    """

    stream: Stream
    model: ModelConfig
    clip: ClipConfig
    tensors: dict[str, Tensor]
    card: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that differ where features would: of the tensors, the network and its clips."""
        clip = self.clip.model_dump(include={"frames", "step", "size", "rescale_flow"})
        return tensors_digest(self.tensors, json.dumps([self.stream, self.model.backbone, clip]))

    @property
    def features(self) -> int:
        """F, how many features a clip has."""
        return backbone_class(self.model.backbone).features

    def build(self) -> Encoder:
        """The network, in eval mode.

        Raises:
            UserError: the tensors do not fit the network.
        """
        encoder = build_encoder(self.model)
        try:
            encoder.load_state_dict(self.tensors)
        except RuntimeError as error:
            what = " ".join(str(error).split())
            raise UserError(f"the weights do not fit a {self.model.backbone}: {what}") from error
        return encoder.eval()


def tensors_digest(tensors: Mapping[str, Tensor], also: str = "") -> str:
    """BLAKE2b of names and contents, and of ``also``, as 16 hexadecimal digits."""
    digest = hashlib.blake2b(also.encode(), digest_size=8)
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_weights(path: Path, weights: EncoderWeights) -> None:
    """Write ``weights`` as one file, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    header = {
        "format": FORMAT,
        "stream": weights.stream,
        "model": weights.model.model_dump_json(),
        "clip": weights.clip.model_dump_json(),
        "card": json.dumps(weights.card),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.tensors.items()}
    atomic_write(path, save(tensors, metadata=header))


def read_weights(path: Path) -> EncoderWeights:
    """Read what :func:`write_weights` wrote; nothing in the file is executed.

    Raises:
        UserError: it is missing, damaged, or no such file.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        reason = UserError(f"{path}: not a safetensors file, or a damaged one ({error})")
        raise (unreadable(path) or reason) from error
    if header.get("format") != FORMAT:
        known = f"its header says {header['format']!r}" if "format" in header else "its header does not say what it is"
        raise UserError(f"{path}: not an encoder that this version reads ({known}, {FORMAT!r} is read); {REWRITE_HINT}")
    return _described(path, header, tensors)


def _described(path: Path, header: Mapping[str, str], tensors: dict[str, Tensor]) -> EncoderWeights:
    try:
        model = ModelConfig.model_validate_json(header["model"])
        clip = ClipConfig.model_validate_json(header["clip"])
        card = parse_json(header.get("card", "{}"))
        if not isinstance(card, dict):
            raise ValueError("card: a mapping is needed")
        if header["stream"] not in ("rgb", "flow"):
            raise ValueError(f"stream: {header['stream']!r} given; allowed: rgb, flow")
        if not any(model.embedding in tensor.shape for tensor in tensors.values()):  # else building it takes memory
            raise ValueError(f"embedding: {model.embedding} given, and no tensor has such a side")
    except (KeyError, ValueError, ValidationError) as error:
        what = " ".join(str(error).split())
        raise UserError(f"{path}: its header does not describe a network ({what}); {REWRITE_HINT}") from error
    return EncoderWeights(cast(Stream, header["stream"]), model, clip, tensors, card)
