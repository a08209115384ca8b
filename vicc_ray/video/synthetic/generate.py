"""Generator of synthetic action videos: H.264 files of classes that differ only in motion.

Texture, color, shape and number of objects, background, start phase, camera shake and distractors are drawn
independently of the class. :mod:`vicc_ray.video.synthetic.motions` says why a single frame does not reveal the class.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from vicc_ray.errors import UserError
from vicc_ray.utils.fs import atomic_path, atomic_write
from vicc_ray.utils.local_paths import WRITTEN_HERE, local_path
from vicc_ray.video import codec
from vicc_ray.video.synthetic.existing_videos import check_existing_videos
from vicc_ray.video.synthetic.motions import MOTIONS, Pose, draw_trajectory

LABELS = "labels.csv"
MARGIN = 0.15
"""Width of the invisible band around the frame, in frame sides, that objects cross before they wrap around."""

LIFE = (20, 33)
"""Lifetime of an object in frames: lower bound, and exclusive upper bound."""


@dataclass(frozen=True)
class Scene:
    """Appearance of a video, independent of its class."""

    side: int = 64
    frames: int = 64
    fps: int = 25
    shake: float = 0.02
    """Largest camera displacement, in frame sides."""
    drift: float = 0.06
    """Largest displacement of the background relative to the scene, in frame sides; it varies over time like shake."""
    distractors: int = 1


def make_videos(
    out: Path,
    classes: int = 8,
    train: int = 100,
    test: int = 30,
    seed: int = 0,
    scene: Scene | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write ``out/<class>/<split>_<n>.mp4`` and ``out/labels.csv`` (path, label, source, split).

    Args:
        classes: number of classes, 2 to ``len(MOTIONS)``.
        train: training videos per class.
        test: test videos per class.
        progress: called with (finished videos, all videos) after each video.

    Existing videos are kept, so that an interrupted call can be resumed and a call for more videos adds them.

    Returns:
        Path of labels.csv.

    Raises:
        UserError: a count is out of range, or the folder has videos of another seed or scene, or more than requested.
    """
    if not 2 <= classes <= len(MOTIONS):
        raise UserError(f"--classes: {classes} given; allowed: 2 to {len(MOTIONS)}, the number of motions")
    if train < 1 or test < 0:
        raise UserError(
            f"--train and --test: {train} and {test} given; at least 1 training video per class is required"
        )
    out = local_path(out, WRITTEN_HERE)
    scene = scene or Scene()
    jobs = {
        f"{name}/{split}_{n:04d}.mp4": (name, split, n)
        for name in list(MOTIONS)[:classes]
        for split, count in (("train", train), ("test", test))
        for n in range(count)
    }
    check_existing_videos(out, {"seed": seed, **asdict(scene)}, [*jobs, LABELS], _existing(out))
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["path", "label", "source", "split"])
    for done, (relative, (name, split, n)) in enumerate(jobs.items(), 1):
        if not (out / relative).exists():
            rng = np.random.default_rng([seed, list(MOTIONS).index(name), int(split == "test"), n])
            write_h264(out / relative, render(name, rng, scene), scene.fps)
        rows.writerow([relative, name, relative.removesuffix(".mp4"), split])
        if progress:
            progress(done, len(jobs))
    atomic_write(out / LABELS, table.getvalue())
    return out / LABELS


def _existing(out: Path) -> list[str]:
    """Names of files in ``out`` that look generated."""
    videos = [f"{path.parent.name}/{path.name}" for name in MOTIONS for path in (out / name).glob("t*_[0-9]*.mp4")]
    return sorted(videos) + [LABELS] * (out / LABELS).exists()


def render(motion: str, rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """Render the RGB frames of one video, uint8 [T, side, side, 3]."""
    t = np.arange(scene.frames, dtype=np.float64)
    background = _texture(rng, scene.side * 2)
    camera = _camera(rng, t, scene)
    drift = np.stack([_smooth(rng, t, scene.drift, (10, 28)) for _ in range(2)], axis=1)
    moving = [(_sprite(rng), *_lives(motion, rng, scene.frames)) for _ in range(int(rng.integers(3, 6)))]
    wandering = [(_sprite(rng), _wander(rng, t), np.ones_like(t)) for _ in range(scene.distractors)]
    frames = []
    for i in range(scene.frames):
        frame = _view(background, camera[i] + drift[i], scene.side)
        for sprite, pose, opacity in wandering + moving:
            _draw(frame, sprite, tuple(float(p[i]) for p in pose), float(opacity[i]), camera[i])
        frames.append(frame)
    return np.clip(np.stack(frames), 0, 255).astype(np.uint8)


def _lives(motion: str, rng: np.random.Generator, frames: int) -> tuple[Pose, np.ndarray]:
    """Pose and opacity [T] of an object that repeatedly disappears and reappears elsewhere, in another size and phase.

    So two distant clips of a video share motion and appearance, but not the positions of objects. Otherwise a flow
    network learns that arrangement, and its R@1 drops during training.
    """
    poses, opacities = [], []
    start = -int(rng.integers(0, 24))
    while start < frames:
        length = int(rng.integers(*LIFE))
        t = np.arange(length, dtype=np.float64)
        poses.append(np.stack(MOTIONS[motion](draw_trajectory(rng), t))[:, max(0, -start) :])
        opacities.append(np.clip(np.minimum(t + 1, length - t) / 3, 0, 1)[max(0, -start) :])
        start += length
    x, y, angle, radius = np.concatenate(poses, axis=1)[:, :frames]
    return (x, y, angle, radius), np.concatenate(opacities)[:frames]


def _wander(rng: np.random.Generator, t: np.ndarray) -> Pose:
    """Pose of a distractor, which moves slowly in changing directions, for every class alike."""
    static = MOTIONS["slide"](draw_trajectory(rng), np.zeros_like(t))
    dx, dy = (_smooth(rng, t, 0.12) for _ in range(2))
    return static[0] + dx, static[1] + dy, static[2], static[3]


def _smooth(
    rng: np.random.Generator, t: np.ndarray, amplitude: float, period: tuple[float, float] = (18, 70)
) -> np.ndarray:
    """Smooth random curve [T] within +-amplitude: the mean of three sine waves with random periods in frames."""
    periods = rng.uniform(*period, size=3)
    phases = rng.uniform(0, 2 * np.pi, size=3)
    return amplitude * np.mean([np.sin(2 * np.pi * t / p + f) for p, f in zip(periods, phases, strict=True)], axis=0)


def _camera(rng: np.random.Generator, t: np.ndarray, scene: Scene) -> np.ndarray:
    """Displacement of the camera [T, 2] in frame sides."""
    return np.stack([_smooth(rng, t, scene.shake) for _ in range(2)], axis=1)


def _texture(rng: np.random.Generator, side: int) -> np.ndarray:
    """Colored noise, coarse to fine, float32 [side, side, 3] in 0 to 255."""
    base = rng.uniform(30, 225, size=3)
    image = np.zeros((side, side, 3), np.float32) + base.astype(np.float32)
    for cells, contrast in ((3, 30), (8, 15)):
        noise = rng.normal(0, rng.uniform(0.5, 1.0) * contrast, size=(cells, cells, 3)).astype(np.float32)
        image += cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(image, 0, 255)


def _sprite(rng: np.random.Generator, side: int = 48) -> np.ndarray:
    """Textured polygon or disc, float32 [side, side, 4]; the last channel is its opacity, 0 to 1."""
    corners = int(rng.integers(3, 9))
    angles = np.linspace(0, 2 * np.pi, corners if corners < 8 else 32, endpoint=False)
    radii = rng.uniform(0.7, 1.0, len(angles)) if corners < 8 else np.ones(32)
    points = side / 2 + (side / 2 - 1) * np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    opacity = np.zeros((side, side), np.uint8)
    cv2.fillPoly(opacity, [points.round().astype(np.int32)], 255)
    return np.dstack([_texture(rng, side), opacity.astype(np.float32) / 255])


def _view(background: np.ndarray, camera: np.ndarray, side: int) -> np.ndarray:
    """Part of the background in the camera's view, float32 [side, side, 3]."""
    offset = side / 2 + camera * side
    matrix = np.array([[1, 0, -offset[0]], [0, 1, -offset[1]]])
    return cv2.warpAffine(background, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _draw(frame: np.ndarray, sprite: np.ndarray, pose: tuple[float, ...], opacity: float, camera: np.ndarray) -> None:
    """Blend a sprite into a frame at pose (x, y, angle, radius); positions wrap around the frame with its margin."""
    side, width = frame.shape[0], sprite.shape[0]
    x, y, angle, radius = pose
    x, y = (np.mod(np.array([x, y]) + MARGIN, 1 + 2 * MARGIN) - MARGIN - camera) * side
    scale = 2 * radius * side / width
    matrix = cv2.getRotationMatrix2D((width / 2, width / 2), np.degrees(angle), scale)
    matrix[:, 2] += np.array([x, y]) - width / 2
    warped = cv2.warpAffine(sprite, matrix, (side, side), flags=cv2.INTER_LINEAR)
    cover = warped[..., 3:] * opacity
    frame *= 1 - cover
    frame += warped[..., :3] * cover


def write_h264(path: Path, frames: np.ndarray, fps: int, crf: int = 18) -> None:
    """Encode RGB frames uint8 [T, H, W, 3] (H and W even) as an H.264 file, atomically."""
    with atomic_path(path) as tmp, av.open(str(tmp), "w", format="mp4") as container:
        options = {"crf": str(crf), "preset": "veryfast", "x264-params": codec.REPRODUCIBLE}
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
