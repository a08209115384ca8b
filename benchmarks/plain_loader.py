"""Conventional loader for comparison: JPEG frames in LMDB, PIL crops, jitter and blur on every frame.

A sample is two clips of T frames of RGB and of flow, cropped to S x S, as float tensors, built in a worker process of a
PyTorch DataLoader. Written for this benchmark from that description alone.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable
from pathlib import Path

import lmdb
import numpy as np
import torch
from measured import yield_as_ray_does
from PIL import Image, ImageEnhance, ImageFilter
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def write_lmdb(path: Path, videos: Iterable[tuple[np.ndarray, np.ndarray]], quality: int = 95) -> None:
    """Videos as (frames uint8 [T, H, W, 3], quantized flow uint8 [T, H, W, 2]); one key per video, JPEGs pickled."""
    with lmdb.open(str(path), map_size=1 << 34) as store, store.begin(write=True) as transaction:
        for n, (frames, flow) in enumerate(videos):
            padded = np.concatenate([flow, np.full_like(flow[..., :1], 128)], axis=-1)
            jpegs = [[_jpeg(picture, quality) for picture in pictures] for pictures in (frames, padded)]
            transaction.put(str(n).encode(), pickle.dumps(jpegs))


def _jpeg(picture: np.ndarray, quality: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=quality)
    return out.getvalue()


class PlainClips(Dataset[tuple[Tensor, Tensor]]):
    """Each item: RGB and flow float [2, C, T, S, S] of a video."""

    def __init__(self, path: Path, videos: int, frames: int, size: int, same_share: float = 0.5) -> None:
        self.path, self.videos, self.frames, self.size, self.same_share = str(path), videos, frames, size, same_share
        self.store: lmdb.Environment | None = None

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if self.store is None:  # opened in the worker process
            self.store = lmdb.open(self.path, readonly=True, lock=False, readahead=False)
        rng = np.random.default_rng(index)
        with self.store.begin() as transaction:
            rgb, flow = pickle.loads(transaction.get(str(index % self.videos).encode()))
        starts = rng.integers(0, max(1, len(rgb) - self.frames + 1), size=2)
        starts[1] = starts[0] if rng.random() < self.same_share else starts[1]
        clips = [self._clip(rgb, flow, int(start), rng) for start in starts]
        return torch.stack([c[0] for c in clips]), torch.stack([c[1] for c in clips])

    def _clip(self, rgb: list[bytes], flow: list[bytes], start: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        places = [(start + t) % len(rgb) for t in range(self.frames)]
        pictures = [Image.open(io.BytesIO(rgb[t])).convert("RGB") for t in places]
        fields = [Image.open(io.BytesIO(flow[t])).convert("RGB") for t in places]
        box, flip = _draw_crop(rng, *pictures[0].size), bool(rng.random() < 0.5)
        pictures, fields = ([self._crop(p, box, flip) for p in group] for group in (pictures, fields))
        pictures = _jitter(pictures, rng)
        colours = (torch.from_numpy(np.stack([np.asarray(p) for p in pictures])).float() / 255 - MEAN) / STD
        motion = torch.from_numpy(np.stack([np.asarray(f)[..., :2] for f in fields])).float() / 255 - 0.5
        motion[..., 0] *= -1 if flip else 1
        return colours.permute(3, 0, 1, 2), motion.permute(3, 0, 1, 2)

    def _crop(self, picture: Image.Image, box: tuple[int, int, int, int], flip: bool) -> Image.Image:
        crop = picture.resize((self.size, self.size), Image.Resampling.BILINEAR, box=box)
        return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else crop


def _draw_crop(rng: np.random.Generator, width: int, height: int) -> tuple[int, int, int, int]:
    for _ in range(10):
        area, aspect = rng.uniform(0.2, 1.0) * width * height, np.exp(rng.uniform(np.log(0.75), np.log(4 / 3)))
        w, h = round(float(np.sqrt(area * aspect))), round(float(np.sqrt(area / aspect)))
        if w <= width and h <= height:
            left, top = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
            return left, top, left + w, top + h
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2


def _jitter(pictures: list[Image.Image], rng: np.random.Generator) -> list[Image.Image]:
    """Color jitter (probability 0.8), channel grayscale (0.5) and blur (0.5), the same for all frames of a clip."""
    if rng.random() < 0.8:
        factors, turn = rng.uniform(0.5, 1.5, 3), int(rng.uniform(-0.25, 0.25) * 255)
        for enhance, factor in zip(
            (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), factors, strict=True
        ):
            pictures = [enhance(picture).enhance(float(factor)) for picture in pictures]
        pictures = [_turn_hue(picture, turn) for picture in pictures]
    if rng.random() < 0.5:
        channel = int(rng.integers(0, 3))
        pictures = [Image.merge("RGB", [picture.getchannel(channel)] * 3) for picture in pictures]
    if rng.random() < 0.5:
        radius = float(rng.uniform(0.1, 2.0))
        pictures = [picture.filter(ImageFilter.GaussianBlur(radius)) for picture in pictures]
    return pictures


def _turn_hue(picture: Image.Image, turn: int) -> Image.Image:
    hue, saturation, value = picture.convert("HSV").split()
    turned = Image.fromarray((np.asarray(hue).astype(np.int16) + turn).astype(np.uint8))
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


def plain_loader(clips: PlainClips, batch: int, processes: int) -> DataLoader[tuple[Tensor, Tensor]]:
    """DataLoader with the usual settings."""
    return DataLoader(
        clips, batch_size=batch, num_workers=processes, prefetch_factor=2, worker_init_fn=yield_as_ray_does
    )
