"""Encoder weights as one self-describing safetensors file: its header says which network it is and what it takes.

Keys of the header, all strings: ``format``, ``stream``, ``model`` and ``clip`` (JSON, as in a recipe), ``input`` (JSON,
:class:`~vicc_ray.models.input_convention.InputConvention`), ``card`` (JSON, provenance for people).
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
from vicc_ray.models.input_convention import InputConvention
from vicc_ray.utils.fs import atomic_write, unreadable
from vicc_ray.utils.json_file import parse_json

FORMAT = "vicc_ray encoder 2"
REWRITE_HINT = "write it again with `vicc-ray export` or `vicc-ray import-weights`"


@dataclass(frozen=True)
class EncoderWeights:
    """Weights of a trained encoder and the configuration to rebuild it; it can be pickled.

    Attributes:
        stream: its input, "rgb" or "flow".
        model: configuration of the network.
        clip: what clips it was trained with: ``frames``, ``frame_stride``, ``size`` and ``scale_flow_with_crop`` count.
        tensors: state dict of :class:`Encoder`.
        card: provenance, for people.
        crop_share: side of the center crop for testing, as a fraction of the short side.
    """

    stream: Stream
    model: ModelConfig
    clip: ClipConfig
    tensors: dict[str, Tensor]
    card: dict[str, Any] = field(default_factory=dict)
    crop_share: float = 1.0

    @property
    def convention(self) -> InputConvention:
        """How clips become the network's input, and how they are cropped."""
        return InputConvention.of(self.stream, self.model, self.crop_share)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the tensors, the network, its clips and its input, 16 hexadecimal digits; equal when features are
        equal."""
        clip = self.clip.model_dump(include={"frames", "frame_stride", "size", "scale_flow_with_crop", "interpolation"})
        about = [self.stream, self.model.backbone, clip, self.convention.model_dump()]
        return tensors_digest(self.tensors, json.dumps(about))

    @property
    def features(self) -> int:
        """F, the number of features of a clip."""
        return backbone_class(self.model.backbone).features

    def build(self) -> Encoder:
        """Build the network with these weights, in eval mode.

        Raises:
            UserError: the tensors do not match the network.
        """
        encoder = build_encoder(self.model)
        try:
            encoder.load_state_dict(self.tensors)
        except RuntimeError as error:
            what = " ".join(str(error).split())
            raise UserError(f"the weights do not match a {self.model.backbone}: {what}") from error
        return encoder.eval()


def tensors_digest(tensors: Mapping[str, Tensor], prefix: str = "") -> str:
    """BLAKE2b hash of ``prefix`` and of the names and contents of tensors, 16 hexadecimal digits."""
    digest = hashlib.blake2b(prefix.encode(), digest_size=8)
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_weights(path: Path, weights: EncoderWeights) -> None:
    """Write ``weights`` to one file, atomically.

    Raises:
        OSError: the file cannot be written.
    """
    header = {
        "format": FORMAT,
        "stream": weights.stream,
        "model": weights.model.model_dump_json(),
        "clip": weights.clip.model_dump_json(),
        "input": weights.convention.model_dump_json(),
        "card": json.dumps(weights.card),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.tensors.items()}
    atomic_write(path, save(tensors, metadata=header))


def read_weights(path: Path) -> EncoderWeights:
    """Read a file of :func:`write_weights`. Nothing in it is executed.

    Raises:
        UserError: the file is missing, damaged, or has another format.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        reason = UserError(f"{path}: not a safetensors file, or damaged ({error})")
        raise (unreadable(path) or reason) from error
    if header.get("format") != FORMAT:
        given = f"its format is {header['format']!r}" if "format" in header else "its header names no format"
        raise UserError(f"{path}: not an encoder of this version: {given}, {FORMAT!r} is supported; {REWRITE_HINT}")
    return _from_header(path, header, tensors)


def _from_header(path: Path, header: Mapping[str, str], tensors: dict[str, Tensor]) -> EncoderWeights:
    try:
        model = ModelConfig.model_validate_json(header["model"])
        clip = ClipConfig.model_validate_json(header["clip"])
        if header["stream"] not in ("rgb", "flow"):
            raise ValueError(f"stream: {header['stream']!r} given; allowed: rgb, flow")
        stream = cast(Stream, header["stream"])
        crop_share = _read_convention(header["input"], stream, model).crop_share
        card = parse_json(header.get("card", "{}"))
        if not isinstance(card, dict):
            raise ValueError("card: not a JSON object")
        if not any(
            model.embed_dim in tensor.shape for tensor in tensors.values()
        ):  # a huge number would exhaust memory
            raise ValueError(f"embedding: {model.embed_dim} given, but no tensor has such a dimension")
    except (KeyError, ValueError, ValidationError) as error:
        what = " ".join(str(error).split())
        raise UserError(f"{path}: its header does not describe a network ({what}); {REWRITE_HINT}") from error
    return EncoderWeights(stream, model, clip, tensors, card, crop_share)


def _read_convention(text: str, stream: Stream, model: ModelConfig) -> InputConvention:
    """Convention of a header.

    Raises:
        ValueError: it is not the one of the header's stream and ``model.flow_input``.
    """
    given = InputConvention.model_validate_json(text)
    expected = InputConvention.of(stream, model, given.crop_share)
    if given != expected:
        raise ValueError(
            f"input: {given.model_dump_json()} given; a {stream} network with model.flow_input {model.flow_input} "
            f"takes {expected.model_dump_json()}"
        )
    return given
