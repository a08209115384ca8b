"""Predictions of a classifier as a Parquet file: id, label and class probabilities. N videos, K classes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vicc_ray.errors import UserError
from vicc_ray.utils.arrow_file import damage_as_user_error, open_parquet, read_parquet
from vicc_ray.utils.fs import atomic_path
from vicc_ray.utils.json_file import parse_json, validate_as

TEXT_SCHEMA = pa.schema([("id", pa.string()), ("label", pa.string())])
MAX_MEMORY, MAX_TEXT_BYTES = 2**30, 4096
"""Most memory for a file in bytes, and longest id."""
REMEDY = "delete it and run `vicc-ray classify` again"


@dataclass(frozen=True)
class Predictions:
    """Predictions for the labeled test videos.

    Attributes:
        ids, labels: str [N], sorted by id.
        probabilities: float32 [N, K]; each row sums to 1.
        classes: K names, sorted; every label is one of them.
        about: provenance, for people and to decide whether the predictions are still valid.
    """

    ids: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    classes: list[str]
    about: dict[str, Any] = field(default_factory=dict)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write ``predictions`` as one file, atomically; the classes and ``about`` are JSON in its metadata."""
    flat = pa.array(predictions.probabilities.astype(np.float32).ravel())
    columns = {
        "id": pa.array(predictions.ids.tolist(), pa.string()),
        "label": pa.array(predictions.labels.tolist(), pa.string()),
        "probabilities": pa.FixedSizeListArray.from_arrays(flat, len(predictions.classes)),
    }
    table = pa.table(columns)
    metadata = {"classes": json.dumps(predictions.classes), "about": json.dumps(predictions.about)}
    with atomic_path(path) as tmp:
        pq.write_table(table.replace_schema_metadata(metadata), tmp)


def read_predictions(path: Path) -> Predictions:
    """Read a file written by :func:`write_predictions`.

    Raises:
        UserError: the file is missing, damaged, or has other content.
    """
    try:
        with open_parquet(path, TEXT_SCHEMA, REMEDY, MAX_MEMORY) as file, damage_as_user_error(path, REMEDY):
            kind = file.schema_arrow.field("probabilities").type
        table = read_parquet(path, TEXT_SCHEMA.append(pa.field("probabilities", kind)), REMEDY, MAX_MEMORY)
    except FileNotFoundError:
        raise UserError(f"no predictions {path}: run `vicc-ray classify` first") from None
    with damage_as_user_error(path, REMEDY):
        metadata = table.schema.metadata or {}
        content = {name: parse_json(metadata[name.encode()]) for name in ("classes", "about")}
        header = validate_as(content, _Header)
        if len(set(header.classes)) != len(header.classes) or kind != pa.list_(pa.float32(), len(header.classes)):
            raise ValueError(f"{len(header.classes)} classes, but probabilities of type {str(kind)[:80]}")
        return _predictions(table, header)


@dataclass(frozen=True)
class _Header:
    classes: list[str]
    about: dict[str, Any]


def _predictions(table: pa.Table, header: _Header) -> Predictions:
    ids, labels = (table.column(name).to_pylist() for name in ("id", "label"))
    flat = table.column("probabilities").combine_chunks().flatten()
    if (
        None in ids
        or flat.null_count
        or not set(labels) <= set(header.classes)
        or max(map(len, ids), default=0) > MAX_TEXT_BYTES
    ):
        raise ValueError("missing values, labels that are not among the classes, or an overlong id")
    probabilities = flat.to_numpy().reshape(-1, len(header.classes))
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities that are not finite")
    return Predictions(
        np.array(ids, dtype=str), np.array(labels, dtype=str), probabilities, header.classes, header.about
    )
