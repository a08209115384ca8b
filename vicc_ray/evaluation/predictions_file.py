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
from vicc_ray.files import atomic_path, unreadable

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
        table = pq.ParquetFile(path).read()
        metadata = table.schema.metadata or {}
        classes = json.loads(metadata[b"classes"])
        return Predictions(
            np.array(table["id"].to_pylist(), dtype=str),
            np.array(table["label"].to_pylist(), dtype=str),
            table["probabilities"].combine_chunks().flatten().to_numpy().reshape(-1, len(classes)),
            classes,
            json.loads(metadata[b"about"]),
        )
    except FileNotFoundError:
        raise UserError(f"no predictions {path}: run `vicc-ray classify` first") from None
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        reason = UserError(f"{path} is not a readable predictions file ({error}): {AGAIN}")
        raise (unreadable(path) or reason) from error
