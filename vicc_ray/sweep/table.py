"""All trials as one Parquet table, for whoever wants to look at them with other tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vicc_ray.config.yaml import format_value
from vicc_ray.sweep.trial import Trial
from vicc_ray.utils.fs import atomic_path

SCORES = pa.list_(
    pa.struct(
        [
            ("epoch", pa.int64()),
            *((name, pa.float64()) for name in ("recall_at_1", "low", "high", "seconds")),
        ]
    )
)
FIXED = [
    ("number", pa.int64()),
    ("state", pa.string()),
    ("reason", pa.string()),
    ("recall_at_1", pa.float64()),
    ("low", pa.float64()),
    ("high", pa.float64()),
    ("epochs", pa.float64()),
    ("seconds", pa.float64()),
    ("warnings", pa.list_(pa.string())),
    ("scores", SCORES),
]


def write_table(trials: Sequence[Trial], settings: Sequence[str], file: Path) -> None:
    """A row a trial: what became of it, its scores by epoch, and a column for each of ``settings`` (null where a
    condition left it out): numbers as numbers, everything else as YAML text.
    """
    columns = {name: [_fixed(trial)[name] for trial in trials] for name, _ in FIXED}
    table = pa.table([pa.array(columns[name], kind) for name, kind in FIXED], names=[name for name, _ in FIXED])
    for key in settings:
        table = table.append_column(key, _values([trial.values.get(key) for trial in trials]))
    with atomic_path(file) as aside:
        pq.write_table(table, aside)


def _fixed(trial: Trial) -> dict[str, object]:
    low, high = trial.interval or (None, None)
    return {
        **{"number": trial.number, "state": trial.state, "reason": trial.reason, "recall_at_1": trial.recall_at_1},
        **{"low": low, "high": high, "epochs": trial.cost.epochs, "seconds": trial.cost.seconds},
        **{"warnings": trial.warnings, "scores": [asdict(score) for score in trial.curve]},
    }


def _values(values: list[object]) -> pa.Array:
    if all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values):
        whole = all(value is None or isinstance(value, int) for value in values)
        return pa.array(values, pa.int64() if whole else pa.float64())
    return pa.array([None if value is None else format_value(value) for value in values], pa.string())
