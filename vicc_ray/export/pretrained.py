"""Trained encoders, loaded from a run, a classification, a checkpoint, an exported file or a published checkpoint.

    encoder = vicc_ray.load_encoder("run-or-file")
    clips = vicc_ray.load_clips("video.mp4", encoder)
    features = encoder(clips)                       # uint8 [B, T, H, W, 3] -> float32 [B, F]

B clips, T frames, H x W pixels, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vicc_ray.clip_store.training_clips import CHANNELS
from vicc_ray.config import ClipConfig, Stream
from vicc_ray.config.loader import config_of
from vicc_ray.errors import UserError
from vicc_ray.evaluation.protocol import center_crop_share
from vicc_ray.export.model_card import card_results
from vicc_ray.models.checkpoint_import.importer import read_published
from vicc_ray.models.input_convention import ClipInput, InputConvention
from vicc_ray.models.weights_io import EncoderWeights, read_weights
from vicc_ray.registry import BACKBONES
from vicc_ray.runs.checkpoint_state import STATE, load_encoder_tensors, read_state
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.runs.schedule import STREAMS, build_phases
from vicc_ray.utils.local_paths import local_path
from vicc_ray.video.flow import FlowUnit

PUBLISHED_SUFFIXES = (".pth.tar", ".pth", ".pt", ".tar")
Array = Tensor | NDArray[np.uint8]
Clips = Array | Sequence[Array]
"""A batch of clips, or a list of clips."""


class PretrainedEncoder(nn.Module):
    """Video encoder that takes decoded clips, as :func:`vicc_ray.load_clips` returns them for a video file.

    Attributes:
        stream: "rgb" or "flow".
        clip: the clips that it was trained with: ``clip.frames`` frames of ``clip.size`` x ``clip.size`` pixels, every
            ``clip.frame_stride``-th frame of the video. Other clips are accepted; features are best for these.
        convention: how clips are cropped and become the network's input.
        features: F, the number of features of a clip.
        fingerprint: 16 hexadecimal digits, equal for equal networks.

    Args:
        flow_unit: unit of the clips of a flow network, :meth:`FlowUnit.of` the settings of their clip store; by default
            that of the network's training. It counts for networks that take flow as pictures.
    """

    stream: Stream
    clip: ClipConfig
    convention: InputConvention
    features: int
    fingerprint: str

    def __init__(self, weights: EncoderWeights, flow_unit: FlowUnit | None = None) -> None:
        super().__init__()
        self.stream, self.clip, self.model = weights.stream, weights.clip, weights.model
        self.convention = weights.convention
        self.to_input = ClipInput(self.convention, flow_unit or self.convention.unit)
        self.fingerprint = weights.fingerprint
        self.network = weights.build()
        self.features = self.network.backbone.features

    def forward(self, clips: Clips) -> Tensor:
        """Features of clips, computed on the device of the network.

        Args:
            clips: uint8 [B, T, H, W, 3] RGB, 0 to 255, as a tensor or an array, or a list of B clips [T, H, W, 3]; for
                a flow network [B, T, H, W, 2] with u and v, quantized as in the clip store: 128 is no motion, and 255
                the bound of ``flow_unit``.

        Returns:
            float32 [B, F]: the backbone's output averaged over space and time, not of unit norm. Compare videos by
            cosine after subtracting the mean feature of all videos.

        Raises:
            TypeError: the clips are neither tensors nor arrays.
            ValueError: the clips are not uint8, have another shape, or are too small for the network.
        """
        batch = _as_tensor(clips)
        self._check(batch)
        batch = batch.to(next(self.parameters()).device)
        return self.network.features(self.to_input(batch)).float()

    def _check(self, clips: Tensor) -> None:
        channels, minimum = CHANNELS[self.stream], BACKBONES[self.model.backbone]
        if clips.dtype != torch.uint8 or clips.dim() != 5 or clips.shape[-1] != channels:
            raise ValueError(
                f"clips: {clips.dtype} {list(clips.shape)} given; uint8 [B, T, H, W, {channels}] expected "
                f"({'RGB, 0 to 255' if channels == 3 else 'quantized u and v'}), "
                f"best [B, {self.clip.frames}, {self.clip.size}, {self.clip.size}, {channels}]"
                f"{'; pass a single clip as clips[None]' if clips.dim() == 4 else ''}"
            )
        _, frames, height, width, _ = clips.shape
        if frames < minimum.min_frames or min(height, width) < minimum.min_pixels:
            raise ValueError(
                f"clips: {frames} frames of {height} x {width} pixels given; {self.model.backbone} needs at least "
                f"{minimum.min_frames} frames of {minimum.min_pixels} x {minimum.min_pixels}"
            )


def _as_tensor(clips: Clips) -> Tensor:
    if isinstance(clips, Tensor):
        return clips
    if isinstance(clips, np.ndarray) and clips.dtype != np.object_:
        return torch.from_numpy(np.require(clips, requirements=["C", "W"]))
    if not isinstance(clips, (list, tuple)) or not all(isinstance(clip, (Tensor, np.ndarray)) for clip in clips):
        inside = f" of {type(clips[0]).__name__}" if isinstance(clips, (list, tuple)) and clips else ""
        raise TypeError(
            f"clips: a {type(clips).__name__}{inside} given; a tensor, a NumPy array or a list of clips expected. "
            "vicc_ray.load_clips(path, encoder) reads them from a video file"
        )
    tensors = [_as_tensor(clip) for clip in clips]
    shapes = sorted({tuple(tensor.shape) for tensor in tensors})
    if len(shapes) != 1:
        raise ValueError(f"clips: a list of shapes {', '.join(map(str, shapes)) or 'none'} given; one shape expected")
    return torch.stack(tensors)


def load_encoder(
    path: Path | str,
    stream: Stream = "rgb",
    device: torch.device | str = "cpu",
    flow_unit: FlowUnit | None = None,
) -> PretrainedEncoder:
    """The trained encoder of a run or file, in eval mode and without gradients; see :func:`find_weights` for ``path``.

    Args:
        flow_unit: see :class:`PretrainedEncoder`.

    Raises:
        UserError: there is no such network.
    """
    return PretrainedEncoder(find_weights(path, stream), flow_unit).requires_grad_(False).eval().to(device)


def find_weights(path: Path | str, stream: Stream = "rgb") -> EncoderWeights:
    """Encoder weights found at ``path``, which is one of

    - a run folder: the network of ``stream`` after its last finished phase,
    - the folder of a classification (``RUN/classify/<stream>-<mode>``): its network, which must be of ``stream``,
    - the folder of all classifications of a run (``RUN/classify``): the fine-tuned network of ``stream``,
    - a checkpoint folder (``RUN/checkpoints/...``): the network of ``stream`` at that checkpoint,
    - a ``.safetensors`` file of ``vicc-ray export`` or ``import-weights``, which records its stream,
    - a published ``.pth.tar``: the network optimized last, which is taken to be that of ``stream``.

    Raises:
        UserError: ``path`` is none of these, or has no network of this stream.
    """
    path = local_path(path)
    if (path / STATE).is_file():
        return _checkpoint_weights(path, stream)
    if path.is_dir():
        return _checkpoint_weights(_last_phase_checkpoint(path, stream), stream)
    if path.suffix == ".safetensors":
        return _check_stream(read_weights(path), stream, path)
    if not path.name.endswith(PUBLISHED_SUFFIXES):
        problem = "this is not a trained network" if path.exists() else "no such file or folder"
        raise UserError(
            f"{path}: {problem}; give a run folder, a checkpoint folder, a .safetensors file of `vicc-ray export` or a "
            "published .pth.tar"
        )
    return read_published(path).describe("encoder", stream, {"published": path.name})


def find_networks(path: Path | str, stream: Stream = "rgb") -> dict[Stream, EncoderWeights]:
    """All networks found at ``path``, which is one of those of :func:`find_weights`: both of a run, of a checkpoint and
    of a published cross-stream checkpoint, where they are there.

    Args:
        stream: input of the network that a published checkpoint optimized last; the file does not say.

    Raises:
        UserError: ``path`` has no network.
    """
    path = local_path(path)
    if path.is_file() and path.name.endswith(PUBLISHED_SUFFIXES):
        published, origin = read_published(path), {"published": path.name}
        networks = {stream: published.describe("encoder", stream, origin)}
        if published.second is not None:
            other: Stream = "flow" if stream == "rgb" else "rgb"
            networks[other] = published.describe("second", other, origin)
        return networks
    if path.is_file() and path.suffix == ".safetensors":
        weights = read_weights(path)
        return {weights.stream: weights}
    found: dict[Stream, EncoderWeights] = {}
    problems = []
    for one in STREAMS:
        try:
            found[one] = find_weights(path, one)
        except UserError as error:
            problems.append(error)
    if not found:
        raise problems[0]
    return found


def _last_phase_checkpoint(run: Path, stream: Stream) -> Path:
    """Checkpoint folder of the last finished phase of ``stream``."""
    folder = RunDir(run)
    if folder.classes_file.exists():
        return _classification_checkpoint(folder, stream)
    if not folder.config_file.exists() and (class_files := sorted(run.glob(f"*/{folder.classes_file.name}"))):
        return _fine_tuned_checkpoint(run, [file.parent.name for file in class_files], stream)
    planned = [phase for phase in build_phases(folder.config().schedule) if phase.stream == stream]
    finished = [path for phase in planned if (path := folder.phase_checkpoint(phase.index, phase.name)).exists()]
    if not finished:
        raise UserError(
            f"{run}: no phase of the {stream} network has finished yet; continue with `vicc-ray pretrain`, or give one "
            f"of the folders in {folder.checkpoints.path}"
        )
    return finished[-1]


def _classification_checkpoint(folder: RunDir, stream: Stream) -> Path:
    settings = folder.config().classify
    if settings.stream != stream:
        raise UserError(f"{folder.path}: {_other_stream(settings.stream, stream)}")
    checkpoint = folder.phase_checkpoint(0, f"{settings.stream}-{settings.mode}")
    if not checkpoint.exists():
        raise UserError(
            f"{folder.path}: this classification has not finished yet; continue with `vicc-ray classify`, or give one "
            f"of the folders in {folder.checkpoints.path}"
        )
    return checkpoint


def _fine_tuned_checkpoint(folder: Path, names: Sequence[str], stream: Stream) -> Path:
    """Checkpoint of the fine-tuned network: probes leave the network unchanged."""
    name = f"{stream}-finetune"
    if name not in names:
        raise UserError(f"{folder}: no fine-tuned {stream} network; give one of {', '.join(names)}")
    return _classification_checkpoint(RunDir(folder / name), stream)


def _checkpoint_weights(folder: Path, stream: Stream) -> EncoderWeights:
    state = read_state(folder)
    config = config_of(state["settings"], str(folder / STATE))
    planned = build_phases(config.schedule)
    if state["phase"] >= len(planned):
        raise UserError(
            f"{folder / STATE}: phase {state['phase']} given, but the schedule has {len(planned)}; remove {folder}"
        )
    phase = planned[state["phase"]].name
    card = {
        "recipe": config.model_dump(mode="json"),
        **{"checkpoint": folder.name, "step": state["step"], "epoch": state["epoch"]},
        **(card_results(folder.parent.parent, phase) if folder.name.endswith(phase) else {}),
    }
    tensors = load_encoder_tensors(folder, stream)
    if not tensors:  # a classification has the network of one stream only
        raise UserError(f"{folder}: {_other_stream(config.classify.stream, stream)}")
    return EncoderWeights(stream, config.model, config.clip, tensors, card, center_crop_share(config.evaluate))


def _check_stream(weights: EncoderWeights, stream: Stream, path: Path) -> EncoderWeights:
    if weights.stream != stream:
        raise UserError(f"{path}: {_other_stream(weights.stream, stream)}")
    return weights


def _other_stream(stream: Stream, wanted: Stream) -> str:
    return f"this is a network of stream {stream}; {wanted} was requested"
