"""Export of a trained network for other programs: safetensors with a model card, ONNX and torch.export, each verified.

All take uint8 clips as :class:`vicc_ray.export.pretrained.PretrainedEncoder` does, in batches of any size, with the
number of frames and the frame size that the network was trained with, and return float32 features. None needs Ray.
ONNX and torch.export do not need this package either.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

from vicc_ray.clip_store.training_clips import CHANNELS
from vicc_ray.errors import UserError
from vicc_ray.export.model_card import card_text
from vicc_ray.export.pretrained import PretrainedEncoder
from vicc_ray.models.weights_io import EncoderWeights, read_weights, write_weights
from vicc_ray.utils.fs import atomic_path, atomic_write
from vicc_ray.utils.local_paths import WRITTEN_HERE, local_path

Format = Literal["safetensors", "onnx", "torch"]
FORMATS: tuple[Format, ...] = get_args(Format)
FILES: dict[Format, str] = {"safetensors": "encoder.safetensors", "onnx": "encoder.onnx", "torch": "encoder.pt2"}
CARD = "README.md"
TOLERANCE = 1e-4
"""Largest difference from the eager features that is accepted, relative to the largest feature."""
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def export(weights: EncoderWeights, out: Path, formats: Sequence[Format] = FORMATS) -> dict[str, float]:
    """Write a network into the folder ``out`` in each format, with a model card (README.md).

    Returns:
        file name -> largest difference of its features from the eager ones, relative to the largest feature.

    Raises:
        UserError: a package for a format is missing, ``out`` cannot be written, or a file gives other features.
    """
    if "onnx" in formats and (missing := [name for name in ONNX_PACKAGES if find_spec(name) is None]):
        raise UserError(
            f"--format onnx: {', '.join(missing)} not installed: pip install 'vicc-ray[export]', or choose among "
            f"{', '.join(name for name in FORMATS if name != 'onnx')}"
        )
    out = local_path(out, WRITTEN_HERE)
    encoder = PretrainedEncoder(weights).requires_grad_(False).eval()
    differences: dict[str, float] = {}
    try:
        for name in formats:
            differences[FILES[name]] = _write_verified(name, out / FILES[name], weights, encoder)
        atomic_write(out / CARD, card_text(weights, sorted(differences)))
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror}); choose another folder with --out") from error
    return differences


def _write_verified(name: Format, path: Path, weights: EncoderWeights, encoder: PretrainedEncoder) -> float:
    """Write one file to a temporary path, run it, and publish it if it gives the same features."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write = {"safetensors": _write_safetensors, "onnx": _write_onnx, "torch": _write_torch}[name]
    clips = example_clips(encoder, 3)
    with torch.inference_mode():
        expected = encoder(clips)
        with atomic_path(path) as tmp:
            write(tmp, weights, encoder)
            difference = _difference(_run(name, tmp, clips), expected)
            if not difference <= TOLERANCE:
                raise UserError(
                    f"{path}: not written: the features of the exported network differ from the original's by "
                    f"{difference:.2g} of the largest feature ({TOLERANCE:g} is allowed). Try another version of torch"
                )
    return difference


def example_clips(encoder: PretrainedEncoder, count: int) -> Tensor:
    """Random clips of the shape that the network was trained with, the same on every call."""
    clip = encoder.clip
    shape = (count, clip.frames, clip.size, clip.size, CHANNELS[encoder.stream])
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def _write_safetensors(path: Path, weights: EncoderWeights, encoder: PretrainedEncoder) -> None:
    write_weights(path, weights)


def _write_torch(path: Path, weights: EncoderWeights, encoder: PretrainedEncoder) -> None:
    with path.open("wb") as file:
        torch.export.save(_program(encoder), file)


def _write_onnx(path: Path, weights: EncoderWeights, encoder: PretrainedEncoder) -> None:
    with _quiet():
        program = torch.onnx.export(
            _program(encoder), dynamo=True, verbose=False, input_names=["clips"], output_names=["features"]
        )
    cast(Any, program).save(str(path), external_data=False)


def _program(encoder: PretrainedEncoder) -> torch.export.ExportedProgram:
    """The network as a graph for any batch size."""
    shapes = {"clips": {0: torch.export.Dim("clips", min=1, max=4096)}}
    with torch.no_grad(), _quiet():
        return torch.export.export(encoder, (example_clips(encoder, 2),), dynamic_shapes=shapes)


def _run(name: Format, path: Path, clips: Tensor) -> Tensor:
    """Features computed by the written file, as its user would."""
    if name == "safetensors":
        return cast(Tensor, PretrainedEncoder(read_weights(path)).eval()(clips))
    if name == "torch":
        with path.open("rb") as file:
            return cast(Tensor, torch.export.load(file).module()(clips))
    session = import_module("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"clips": clips.numpy()})[0])


def _difference(features: Tensor, expected: Tensor) -> float:
    return float((features - expected).abs().max() / expected.abs().max().clamp_min(1e-12))


class _quiet(warnings.catch_warnings):
    """Silences the exporters, which log and warn at every step."""

    def __enter__(self) -> Any:
        caught = super().__enter__()
        warnings.simplefilter("ignore")
        self._levels = {name: logging.getLogger(name).level for name in ("torch.onnx", "onnxscript", "torch.export")}
        for name in self._levels:
            logging.getLogger(name).setLevel(logging.ERROR)
        return caught

    def __exit__(self, *error: Any) -> None:
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        super().__exit__(*error)
