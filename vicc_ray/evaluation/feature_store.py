"""Features of whole videos on the disk: ``evaluation/features-<name>/part-00000.parquet`` and on, by id.

A part holds ``PART_VIDEOS`` videos and is whole or absent; each knows how many parts there are, so that features of
which some are missing are not taken for all.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vicc_ray.errors import UserError
from vicc_ray.evaluation.retrieval import FeatureSet
from vicc_ray.utils.arrow_file import naming_damage, open_parquet, read_parquet
from vicc_ray.utils.fs import atomic_path
from vicc_ray.utils.regular_file import open_regular

PREFIX, PART, SUFFIX = "features-", "part-", ".parquet"
PART_VIDEOS = 1024
TEXTS = ("id", "label", "source", "split")
COLUMNS = ("ids", "labels", "sources", "splits")
"""The same, as :class:`FeatureTable` calls them."""
PARTS_KEY, NETWORK_KEY = b"vicc_ray parts", b"vicc_ray network"
TEXT_SCHEMA = pa.schema([(name, pa.string()) for name in TEXTS])
MOST_PARTS, MAX_MEMORY, MAX_TEXT_BYTES = 10**6, 2**30, 4096
"""More parts than there can be; bytes of memory of one part, and of one id or label, that are given to it."""
AGAIN = "delete it and run `vicc-ray evaluate` again"


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
        for name in COLUMNS:
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=str))
        object.__setattr__(self, "features", np.asarray(self.features, dtype=np.float32))
        lengths = {name: len(getattr(self, name)) for name in (*COLUMNS, "features")}
        if len(set(lengths.values())) > 1 or self.features.ndim != 2:
            raise ValueError(f"columns of one length and features [N, F] are needed, given {lengths}")

    def sorted(self) -> FeatureTable:
        """The same videos in the order of their ids, so that tables of one store line up row by row."""
        order = np.argsort(self.ids, kind="stable")
        return FeatureTable(*(getattr(self, name)[order] for name in (*COLUMNS, "features")))

    def split(self, name: str) -> FeatureSet:
        """The videos of the split ``name``, as retrieval takes them."""
        keep = self.splits == name
        return FeatureSet(self.features[keep], self.labels[keep], self.sources[keep], self.ids[keep])


def feature_path(folder: Path, name: str) -> Path:
    """Folder of the features of the network ``name`` ("rgb-random", "flow-stage1", "rgb-stage2-1", ...)."""
    return folder / f"{PREFIX}{name}"


def feature_names(folder: Path) -> list[str]:
    """Names of the networks whose features in ``folder`` are whole, sorted."""
    return sorted(path.name[len(PREFIX) :] for path in folder.glob(f"{PREFIX}*") if not missing_parts(path))


def part_count(videos: int) -> int:
    """How many parts the features of so many videos have."""
    return -(-videos // PART_VIDEOS)


def missing_parts(path: Path, videos: int | None = None) -> list[int]:
    """Parts that are not there yet, of the features of so many videos; without, of as many as the first part tells."""
    there = {_number(part) for part in _parts(path)}
    if videos is not None:
        return [part for part in range(part_count(videos)) if part not in there]
    told = _told(path).get(PARTS_KEY, b"1")
    if not told.isdigit() or not 1 <= len(told) <= len(str(MOST_PARTS)) or int(told) > MOST_PARTS:
        raise UserError(f"{path}: features of {told[:20]!r} parts, where 1 to {MOST_PARTS} are possible; {AGAIN}")
    return [part for part in range(int(told)) if part not in there]


def network_fingerprint(path: Path) -> str:
    """Fingerprint of the network that made the features, "" where there are none or nothing is known of it."""
    return _told(path).get(NETWORK_KEY, b"").decode(errors="replace")


def write_part(path: Path, part: int, table: FeatureTable, parts: int, network: str = "") -> None:
    """Write one part of ``parts``, whole or not at all; ``network``: fingerprint of what made it."""
    width = table.features.shape[1]
    features = pa.FixedSizeListArray.from_arrays(pa.array(table.features.reshape(-1)), width)
    texts = [pa.array(getattr(table, name)) for name in COLUMNS]
    content = pa.table([*texts, features], names=[*TEXTS, "features"])
    content = content.replace_schema_metadata({PARTS_KEY: str(parts).encode(), NETWORK_KEY: network.encode()})
    with atomic_path(path / f"{PART}{part:05d}{SUFFIX}") as aside:
        pq.write_table(content, aside, compression="zstd", use_dictionary=False, column_encoding=_encoding())


def save_features(path: Path, table: FeatureTable) -> None:
    """Write all of ``table``; what was there is removed first."""
    remove_features(path)
    parts = part_count(len(table.ids))
    for part in range(parts):
        rows = slice(part * PART_VIDEOS, (part + 1) * PART_VIDEOS)
        write_part(path, part, FeatureTable(*(getattr(table, name)[rows] for name in (*COLUMNS, "features"))), parts)


def remove_features(path: Path) -> None:
    """Remove a network's features, if there are any."""
    shutil.rmtree(path, ignore_errors=True)


def load_features(path: Path) -> FeatureTable:
    """Read a network's features.

    Raises:
        UserError: they are missing, damaged, not whole, or not finite.
    """
    parts = _parts(path)
    if not parts:
        raise UserError(f"no features in {path}: run `vicc-ray evaluate` on the run first")
    table = _joined([_read(part) for part in parts])
    if missing := missing_parts(path):
        raise UserError(f"{path}: {len(missing)} of {len(parts) + len(missing)} parts are missing; {AGAIN}")
    broken = ~np.isfinite(table.features).all(axis=1)
    if broken.any():
        raise UserError(
            f"{path}: the features of {int(broken.sum())} of {len(broken)} videos are not finite numbers "
            f"(first: {table.ids[broken][0]}): the network has diverged; train with a lower learning rate"
        )
    return table


class FeatureFolder:
    """The features in a folder, for several that look at the same ones: a network's are read once, and kept.

    Attributes:
        names: of the networks, see :func:`feature_names`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.names = folder, feature_names(folder)
        self._tables: dict[str, FeatureTable] = {}

    def of(self, name: str) -> FeatureTable:
        """Those of one network, in the order of their ids; UserError as of :func:`load_features`."""
        if name not in self._tables:
            self._tables[name] = load_features(feature_path(self.folder, name)).sorted()
        return self._tables[name]


def _read(part: Path) -> FeatureTable:
    try:
        with open_parquet(part, TEXT_SCHEMA, AGAIN, MAX_MEMORY) as file, naming_damage(part, AGAIN):
            kind, rows = file.schema_arrow.field("features").type, file.metadata.num_rows
        with naming_damage(part, AGAIN):
            if not pa.types.is_fixed_size_list(kind) or kind.value_type != pa.float32() or rows > PART_VIDEOS:
                raise ValueError(f"{rows} rows of features that are {str(kind)[:80]}")
        table = read_parquet(part, TEXT_SCHEMA.append(pa.field("features", kind)), AGAIN, MAX_MEMORY)
    except FileNotFoundError as error:
        raise UserError(f"{part} is gone; {AGAIN}") from error
    with naming_damage(part, AGAIN):
        features = table.column("features").combine_chunks()
        longest = max(len(text) for name in TEXTS for text in (*table.column(name).to_pylist(), ""))
        if features.flatten().null_count or longest > MAX_TEXT_BYTES:
            raise ValueError("features that are missing, or an id or label without end")
        values = features.flatten().to_numpy().reshape(len(features), -1)
        ids, labels, sources, splits = (np.array(table.column(name).to_pylist(), dtype=str) for name in TEXTS)
        return FeatureTable(ids, labels, sources, splits, values)


def _joined(tables: Sequence[FeatureTable]) -> FeatureTable:
    return FeatureTable(*(np.concatenate([getattr(t, name) for t in tables]) for name in (*COLUMNS, "features")))


def _parts(path: Path) -> list[Path]:
    return sorted(path.glob(f"{PART}*{SUFFIX}"))


def _number(part: Path) -> int:
    digits = part.name[len(PART) : -len(SUFFIX)]
    return int(digits) if digits.isdecimal() else -1


def _told(path: Path) -> dict[bytes, bytes]:
    """What the first part that is there says of all; {} where none can be read."""
    for part in _parts(path)[:1]:
        try:
            open_regular(part).close()
            return dict(pq.read_schema(part).metadata or {})
        except (OSError, pa.ArrowException, ValueError):
            return {}
    return {}


def _encoding() -> dict[str, str]:
    """Bytes of one place beside each other: features compress to less so, and dictionaries are of no use."""
    return {"features.list.element": "BYTE_STREAM_SPLIT"}
