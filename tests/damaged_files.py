"""Damages a small clip store and features at random, and reads them: each is read, or told as a UserError.

In a process of its own, since what is looked for may end it: ``python -m tests.damaged_files FOLDER SEED TIMES``.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.clip_store.test_store import make_store
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.clip_store.writer import write_index
from vicc_ray.errors import UserError
from vicc_ray.evaluation.feature_store import FeatureFolder, FeatureTable, network_fingerprint, save_features
from vicc_ray.evaluation.predictions_io import Predictions, read_predictions, write_predictions


def main(folder: Path, seed: int, times: int) -> None:
    """Damage each file so often, and print how often it was read and how often it was told."""
    rng, found = random.Random(seed), Counter[str]()
    readers = make(folder)
    for file, read in readers.items():
        content = file.read_bytes()
        for _ in range(times):
            file.write_bytes(damaged(content, rng))
            try:
                read()
                found["read"] += 1
            except UserError as error:
                named = str(folder) in str(error) or "part-" in str(error)
                found["told" if named else f"told without a file: {error}"] += 1
        file.write_bytes(content)
        read()
    print(dict(found))


def make(folder: Path) -> dict[Path, Callable[[], object]]:
    """Files, and what reads each."""
    bare = make_store(folder / "bare", [[0]])
    whole = make_store(folder / "whole", [[0], [1]])
    write_index(whole, ClipStore(whole).entries)
    names, labels = np.array([str(n) for n in range(40)]), np.array(["a", "b"] * 20)
    values = np.random.default_rng(0).normal(size=(40, 8))
    save_features(folder / "features-rgb-stage1", FeatureTable(names, labels, names, labels, values))
    predictions = folder / "predictions.parquet"
    write_predictions(predictions, Predictions(names, labels, np.full((40, 2), 0.5, np.float32), ["a", "b"]))
    return {
        bare / "store.json": lambda: clips(bare),
        bare / "part-00000.parquet": lambda: clips(bare),
        whole / "index.parquet": lambda: clips(whole),
        folder / "features-rgb-stage1" / "part-00000.parquet": lambda: features(folder),
        predictions: lambda: read_predictions(predictions),
    }


def clips(store: Path) -> None:
    """Read a clip of every video."""
    opened = ClipStore(store)
    for entry in opened.entries:
        stored = opened.read(entry)
        stored.rgb([0, stored.frames - 1])
        stored.flow([0, stored.frames - 1])


def features(folder: Path) -> None:
    """Read all that there are."""
    network_fingerprint(folder / "features-rgb-stage1")
    found = FeatureFolder(folder)
    for name in found.names:
        found.load(name)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Cut off, or with bytes that are otherwise, more often at the end, where Parquet has what it says of itself."""
    if rng.random() < 0.2:
        return content[: rng.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 4, 30))):
        start = rng.choice((0, max(0, len(content) - 3000)))
        changed[rng.randrange(start, len(changed))] = rng.randrange(256)
    return bytes(changed)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
