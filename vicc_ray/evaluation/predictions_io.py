"""What a classifier says of every test video, as Parquet: id, label, probabilities. N videos, K classes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vicc_ray.errors import UserError
from vicc_ray.utils.arrow_file import naming_damage, open_parquet, read_parquet
from vicc_ray.utils.fs import atomic_path
from vicc_ray.utils.json_file import as_kind, parse_json

TEXT_SCHEMA = pa.schema([("id", pa.string()), ("label", pa.string())])
MAX_MEMORY, MAX_TEXT_BYTES = 2**30, 4096
"""Bytes of memory that are given to a file, and to one id in it."""
AGAIN = "delete it and run `vicc-ray classify` again"


@dataclass(frozen=True)
class Predictions:
    """Of the labelled test videos.

    Attributes:
        ids, labels: str [N], in the order of the ids.
        probabilities: float32 [N, K], each row of sum 1.
        classes: K names, sorted; every label is one of them.
        about: what they were made from, for people and to see whether they are still of use.
    """

    ids: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    classes: list[str]
    about: dict[str, Any] = field(default_factory=dict)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write ``predictions`` as one file, whole or not at all; the classes and ``about`` are JSON in its metadata."""
    flat = pa.array(predictions.probabilities.astype(np.float32).ravel())
    columns = {
        "id": pa.array(predictions.ids.tolist(), pa.string()),
        "label": pa.array(predictions.labels.tolist(), pa.string()),
        "probabilities": pa.FixedSizeListArray.from_arrays(flat, len(predictions.classes)),
    }
    table = pa.table(columns)
    kept = {"classes": json.dumps(predictions.classes), "about": json.dumps(predictions.about)}
    with atomic_path(path) as aside:
        pq.write_table(table.replace_schema_metadata(kept), aside)


def read_predictions(path: Path) -> Predictions:
    """Read what :func:`write_predictions` wrote.

    Raises:
        UserError: the file is missing, damaged, or no such file.
    """
    try:
        with open_parquet(path, TEXT_SCHEMA, AGAIN, MAX_MEMORY) as file, naming_damage(path, AGAIN):
            kind = file.schema_arrow.field("probabilities").type
        table = read_parquet(path, TEXT_SCHEMA.append(pa.field("probabilities", kind)), AGAIN, MAX_MEMORY)
    except FileNotFoundError:
        raise UserError(f"no predictions {path}: run `vicc-ray classify` first") from None
    with naming_damage(path, AGAIN):
        known = {name: parse_json((table.schema.metadata or {})[name.encode()]) for name in ("classes", "about")}
        about = as_kind(known, _About)
        if len(set(about.classes)) != len(about.classes) or kind != pa.list_(pa.float32(), len(about.classes)):
            raise ValueError(f"{len(about.classes)} classes, and probabilities that are {str(kind)[:80]}")
        return _predictions(table, about)


@dataclass(frozen=True)
class _About:
    classes: list[str]
    about: dict[str, Any]


def _predictions(table: pa.Table, about: _About) -> Predictions:
    ids, labels = (table.column(name).to_pylist() for name in ("id", "label"))
    flat = table.column("probabilities").combine_chunks().flatten()
    if (
        None in ids
        or flat.null_count
        or not set(labels) <= set(about.classes)
        or max(map(len, ids), default=0) > MAX_TEXT_BYTES
    ):
        raise ValueError("probabilities that are missing, or labels that are no classes")
    probabilities = flat.to_numpy().reshape(-1, len(about.classes))
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities that are no numbers")
    return Predictions(np.array(ids, dtype=str), np.array(labels, dtype=str), probabilities, about.classes, about.about)
