"""Features of whole videos in a file: ``evaluation/features-<name>.npz``, written whole or not at all."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vicc_ray.errors import UserError
from vicc_ray.evaluation.retrieval import FeatureSet
from vicc_ray.files import atomic_path

PREFIX, SUFFIX = "features-", ".npz"
TEXTS = ("ids", "labels", "sources", "splits")


@dataclass(frozen=True)
class FeatureTable:
    """Features of every video of a store by one network, N videos, F features.

    Attributes:
        ids, labels, sources, splits: str [N]; labels and sources "" where unknown, splits "train", "test" or "".
        features: float32 [N, F], averaged over the windows of a video.

    Raises:
        ValueError: the lengths differ.
    """

    ids: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    splits: np.ndarray
    features: np.ndarray

    def __post_init__(self) -> None:
        for name in TEXTS:
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=str))
        object.__setattr__(self, "features", np.asarray(self.features, dtype=np.float32))
        lengths = {name: len(getattr(self, name)) for name in (*TEXTS, "features")}
        if len(set(lengths.values())) > 1 or self.features.ndim != 2:
            raise ValueError(f"columns of one length and features [N, F] are needed, given {lengths}")

    def sorted(self) -> FeatureTable:
        """The same videos in the order of their ids, so that tables of one store line up row by row."""
        order = np.argsort(self.ids, kind="stable")
        return FeatureTable(*(getattr(self, name)[order] for name in (*TEXTS, "features")))

    def split(self, name: str) -> FeatureSet:
        """The videos of the split ``name``, as retrieval takes them."""
        keep = self.splits == name
        return FeatureSet(self.features[keep], self.labels[keep], self.sources[keep], self.ids[keep])


def feature_path(folder: Path, name: str) -> Path:
    """Path of the features of the network ``name`` ("rgb-random", "flow-stage1", "rgb-stage2-1", ...)."""
    return folder / f"{PREFIX}{name}{SUFFIX}"


def feature_names(folder: Path) -> list[str]:
    """Names of the networks that have a feature file in ``folder``, sorted."""
    return sorted(path.name[len(PREFIX) : -len(SUFFIX)] for path in folder.glob(f"{PREFIX}*{SUFFIX}"))


def save_features(path: Path, table: FeatureTable) -> None:
    """Write ``table`` as uncompressed arrays; an older file is replaced in one move."""
    with atomic_path(path) as aside, aside.open("wb") as file:
        np.savez(file, **{name: getattr(table, name) for name in (*TEXTS, "features")})


def load_features(path: Path) -> FeatureTable:
    """Read a feature file; nothing in it is unpickled.

    Raises:
        UserError: the file is missing, damaged, no feature file, or holds features that are not finite.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            table = FeatureTable(*(arrays[name] for name in (*TEXTS, "features")))
    except FileNotFoundError:
        raise UserError(f"no feature file {path}: run `vicc-ray evaluate` on the run first") from None
    except (OSError, KeyError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} is not a readable feature file ({error}): delete it and run `vicc-ray evaluate` again"
        ) from error
    broken = ~np.isfinite(table.features).all(axis=1)
    if broken.any():
        raise UserError(
            f"{path}: the features of {int(broken.sum())} of {len(broken)} videos are not finite numbers "
            f"(first: {table.ids[broken][0]}): the network has diverged; train with a lower learning rate"
        )
    return table
