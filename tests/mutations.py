"""Videos with bytes changed, cut out, put in, repeated or cut off: what disks, networks and cameras do to files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tests.videos import moving, write_video

Mutation = Callable[[np.random.Generator, bytes], bytes]
FORMS = (("mp4", "libx264"), ("mkv", "libx264"), ("avi", "mpeg4"), ("ts", "mpeg2video"), ("webm", "libvpx"))


def _changed(rng: np.random.Generator, content: bytes) -> bytes:
    data = np.frombuffer(content, np.uint8).copy()
    places = rng.integers(len(data), size=int(rng.choice([1, 3, 30, 300])))
    data[places] = rng.integers(256, size=len(places))
    return data.tobytes()


def _damaged_head(rng: np.random.Generator, content: bytes) -> bytes:
    return _changed(rng, content[:256]) + content[256:]


def _cut_out(rng: np.random.Generator, content: bytes) -> bytes:
    first, last = np.sort(rng.integers(len(content), size=2))
    return content[:first] + content[last:]


def _cut_off(rng: np.random.Generator, content: bytes) -> bytes:
    return content[: rng.integers(len(content))]


def _put_in(rng: np.random.Generator, content: bytes) -> bytes:
    place = rng.integers(len(content))
    return content[:place] + rng.bytes(int(rng.integers(1, 500))) + content[place:]


def _repeated(rng: np.random.Generator, content: bytes) -> bytes:
    first, last = np.sort(rng.integers(len(content), size=2))
    return content[:last] + content[first:]


def _zeroed(rng: np.random.Generator, content: bytes) -> bytes:
    first, last = np.sort(rng.integers(len(content), size=2))
    return content[:first] + bytes(last - first) + content[last:]


MUTATIONS: tuple[Mutation, ...] = (_changed, _damaged_head, _cut_out, _cut_off, _put_in, _repeated, _zeroed)


def mutated(folder: Path, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents of ``count`` mutated videos of several containers and codecs."""
    rng = np.random.default_rng(seed)
    originals = []
    for n, (suffix, codec) in enumerate(FORMS):
        path = write_video(folder / f"original.{suffix}", moving(6, 32, 48, (1, 1), n), codec=codec)
        originals.append((suffix, path.read_bytes()))
    for n in range(count):
        suffix, content = originals[n % len(originals)]
        yield f"{n:04d}.{suffix}", MUTATIONS[rng.integers(len(MUTATIONS))](rng, content)
