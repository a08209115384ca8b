"""Feature files of a network, ``evaluation/features-<name>/part-00000.parquet`` and following, sorted by video id.

A part has ``PART_VIDEOS`` videos and is complete or absent. Each part records how many there are, so that incomplete
features are recognized.
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
from vicc_ray.utils.arrow_file import damage_as_user_error, open_parquet, read_parquet
from vicc_ray.utils.fs import atomic_path
from vicc_ray.utils.regular_file import open_regular

PREFIX, PART, SUFFIX = "features-", "part-", ".parquet"
PART_VIDEOS = 1024
TEXTS = ("id", "label", "source", "split")
COLUMNS = ("ids", "labels", "sources", "splits")
"""Attributes of :class:`FeatureTable` for these columns."""
ENCODING = {"features.list.element": "BYTE_STREAM_SPLIT"}
"""Groups the first bytes of all floats, the second bytes, and so on: features compress better."""
PARTS_KEY, NETWORK_KEY = b"vicc_ray parts", b"vicc_ray network"
TEXT_SCHEMA = pa.schema([(name, pa.string()) for name in TEXTS])
MAX_PARTS, MAX_MEMORY, MAX_TEXT_BYTES = 10**6, 2**30, 4096
"""Most parts of a network's features, most bytes of memory for one part, longest id or label."""
REMEDY = "delete it and run `vicc-ray evaluate` again"


@dataclass(frozen=True)
class FeatureTable:
    """Features of all videos of a store by one network. N videos, F features.

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
            raise ValueError(f"columns need equal lengths and features the shape [N, F]; got lengths {lengths}")

    def sorted(self) -> FeatureTable:
        """The same videos sorted by id, so that the rows of several networks' tables correspond."""
        order = np.argsort(self.ids, kind="stable")
        return FeatureTable(*(getattr(self, name)[order] for name in (*COLUMNS, "features")))

    def split(self, name: str) -> FeatureSet:
        """The videos of the split ``name``, for retrieval."""
        keep = self.splits == name
        return FeatureSet(self.features[keep], self.labels[keep], self.sources[keep], self.ids[keep])


def feature_path(folder: Path, name: str) -> Path:
    """Folder of the features of a network ("rgb-random", "flow-stage1", "rgb-stage2-1", ...)."""
    return folder / f"{PREFIX}{name}"


def feature_names(folder: Path) -> list[str]:
    """Names of the networks whose features in ``folder`` are complete, sorted."""
    return sorted(path.name[len(PREFIX) :] for path in folder.glob(f"{PREFIX}*") if not missing_parts(path))


def part_count(videos: int) -> int:
    """Number of parts for this many videos."""
    return -(-videos // PART_VIDEOS)


def missing_parts(path: Path, videos: int | None = None) -> list[int]:
    """Numbers of the parts that are missing, for this many videos or, by default, for the recorded number of parts."""
    present = {_number(part) for part in _parts(path)}
    if videos is not None:
        return [part for part in range(part_count(videos)) if part not in present]
    count = _metadata(path).get(PARTS_KEY, b"1")
    if not count.isdigit() or not 1 <= len(count) <= len(str(MAX_PARTS)) or int(count) > MAX_PARTS:
        raise UserError(f"{path}: {count[:20]!r} parts of features given, 1 to {MAX_PARTS} allowed; {REMEDY}")
    return [part for part in range(int(count)) if part not in present]


def network_fingerprint(path: Path) -> str:
    """Fingerprint of the network that computed the features; "" where it is unknown or there are no features."""
    return _metadata(path).get(NETWORK_KEY, b"").decode(errors="replace")


def write_part(path: Path, part: int, table: FeatureTable, parts: int, network: str = "") -> None:
    """Write one part of ``parts``, atomically. ``network``: fingerprint of the network that computed the features."""
    width = table.features.shape[1]
    features = pa.FixedSizeListArray.from_arrays(pa.array(table.features.reshape(-1)), width)
    texts = [pa.array(getattr(table, name)) for name in COLUMNS]
    content = pa.table([*texts, features], names=[*TEXTS, "features"])
    content = content.replace_schema_metadata({PARTS_KEY: str(parts).encode(), NETWORK_KEY: network.encode()})
    with atomic_path(path / f"{PART}{part:05d}{SUFFIX}") as tmp:
        pq.write_table(content, tmp, compression="zstd", use_dictionary=False, column_encoding=ENCODING)


def save_features(path: Path, table: FeatureTable) -> None:
    """Write all of ``table`` in place of the features that were there."""
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
        UserError: they are missing, damaged, incomplete, or not finite.
    """
    parts = _parts(path)
    if not parts:
        raise UserError(f"no features in {path}: run `vicc-ray evaluate` on the run first")
    table = _joined([_read(part) for part in parts])
    if missing := missing_parts(path):
        raise UserError(f"{path}: {len(missing)} of {len(parts) + len(missing)} parts are missing; {REMEDY}")
    diverged = ~np.isfinite(table.features).all(axis=1)
    if diverged.any():
        raise UserError(
            f"{path}: the features of {int(diverged.sum())} of {len(diverged)} videos are not finite numbers "
            f"(first: {table.ids[diverged][0]}): the network has diverged; train with a lower learning rate"
        )
    return table


class FeatureFolder:
    """Cached reader of the features in a folder: each network's are read once.

    Attributes:
        names: networks with complete features, see :func:`feature_names`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.names = folder, feature_names(folder)
        self._tables: dict[str, FeatureTable] = {}

    def load(self, name: str) -> FeatureTable:
        """Features of one network, sorted by id; raises UserError as :func:`load_features` does."""
        if name not in self._tables:
            self._tables[name] = load_features(feature_path(self.folder, name)).sorted()
        return self._tables[name]


def _read(part: Path) -> FeatureTable:
    try:
        with open_parquet(part, TEXT_SCHEMA, REMEDY, MAX_MEMORY) as file, damage_as_user_error(part, REMEDY):
            kind, rows = file.schema_arrow.field("features").type, file.metadata.num_rows
        with damage_as_user_error(part, REMEDY):
            if not pa.types.is_fixed_size_list(kind) or kind.value_type != pa.float32() or rows > PART_VIDEOS:
                raise ValueError(f"{rows} rows of features of type {str(kind)[:80]}")
        table = read_parquet(part, TEXT_SCHEMA.append(pa.field("features", kind)), REMEDY, MAX_MEMORY)
    except FileNotFoundError as error:
        raise UserError(f"{part} is missing; {REMEDY}") from error
    with damage_as_user_error(part, REMEDY):
        features = table.column("features").combine_chunks()
        longest = max(len(text) for name in TEXTS for text in (*table.column(name).to_pylist(), ""))
        if features.flatten().null_count or longest > MAX_TEXT_BYTES:
            raise ValueError("missing features, or an overlong id or label")
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


def _metadata(path: Path) -> dict[bytes, bytes]:
    """Metadata of the first part, the same in all; {} where it cannot be read."""
    for part in _parts(path)[:1]:
        try:
            open_regular(part).close()
            return dict(pq.read_schema(part).metadata or {})
        except (OSError, pa.ArrowException, ValueError):
            return {}
    return {}
