"""Curves from metrics.jsonl, epochs.jsonl and validation.jsonl, thinned out so that a long run is quick to draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicc_ray.utils.jsonl import read_lines

POINTS = 240
"""Points drawn per phase."""
SMOOTHING_WINDOW = 0.04
"""Width of the running mean as a share of the phase."""
START, END = 0.02, 0.1
"""Shares of a phase whose means are its start value and its end value."""
SERIES = ("loss", "entropy", "assignment_entropy", "prototypes_used")
EPOCH_SERIES = ("effective_rank", "prototypes_in_use", "gradient_norm", "data_wait_share")


def read_phases(path: Path, batch: int, stage2_batch: int | None = None) -> list[dict[str, Any]]:
    """The phases of metrics.jsonl in order of their first step, with curves, start and end values, and timing.

    A resumed run repeats the steps after its checkpoint, so the last record of each step counts.

    Args:
        batch: samples per step, for the throughput.
        stage2_batch: the same in stage 2, where it differs.
    """
    records = {record["step"]: record for record in read_lines(path) if "step" in record and "phase" in record}
    phases: dict[str, list[dict[str, Any]]] = {}
    for step in sorted(records):
        phases.setdefault(records[step]["phase"], []).append(records[step])
    later = stage2_batch or batch
    return [_phase(name, steps, later if steps[0].get("stage") == 2 else batch) for name, steps in phases.items()]


def read_validation(path: Path) -> list[dict[str, Any]]:
    """Validation results in order of their steps: the last record of each step and stream."""
    records = (r for r in read_lines(path) if "step" in r and math.isfinite(_number(r.get("recall_at_1"))))
    results = {(record["step"], record.get("stream", "")): record for record in records}
    return [results[key] for key in sorted(results)]


def read_epochs(path: Path) -> dict[str, dict[str, Any]]:
    """The epochs of epochs.jsonl by phase.

    Each phase has ``curves`` over the ``step`` at the end of each epoch, the ``last`` record, and the largest
    ``memory_peak_mib`` (None if not recorded).
    """
    known = {(r["phase"], r["step"]): r for r in read_lines(path) if "step" in r and "phase" in r}
    phases: dict[str, list[dict[str, Any]]] = {}
    for phase, step in sorted(known, key=lambda key: key[1]):
        phases.setdefault(phase, []).append(known[phase, step])
    return {name: _epochs(records) for name, records in phases.items()}


def running_mean(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Centered mean over ``width`` values, fewer at the ends. NaN and infinity are left out."""
    known = np.isfinite(values)
    kernel = np.ones(min(max(1, width), len(values)))
    total = np.convolve(np.where(known, values, 0.0), kernel, mode="same")
    count = np.convolve(known.astype(float), kernel, mode="same")
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def start_mean(values: Sequence[float] | NDArray[np.float64]) -> float | None:
    """Mean of a phase's first values without NaN and infinity; None if no value is left."""
    return _mean(np.asarray(values[: max(1, int(START * len(values)))], dtype=np.float64))


def end_mean(values: Sequence[float] | NDArray[np.float64]) -> float | None:
    """Mean of the last tenth of a phase's values: its end value in the terminal and in the report."""
    return _mean(np.asarray(values[-max(1, round(END * len(values))) :], dtype=np.float64))


def numbers(values: NDArray[np.float64]) -> list[float | None]:
    """Values for JSON: None for NaN and infinity."""
    return [round(float(v), 5) if math.isfinite(v) else None for v in values]


def _epochs(records: list[dict[str, Any]]) -> dict[str, Any]:
    drawn = _drawn(len(records))
    curves: dict[str, list[Any]] = {"step": [records[i]["step"] for i in drawn]}
    curves |= {key: numbers(_column(records, key)[drawn]) for key in EPOCH_SERIES}
    memory = _column(records, "memory_peak_mib")
    known = memory[np.isfinite(memory)]
    return {"curves": curves, "last": records[-1], "memory_peak_mib": float(np.max(known)) if len(known) else None}


def _drawn(count: int) -> NDArray[np.int_]:
    """Indices of the records to draw: evenly spaced, at most :data:`POINTS`, with the first and the last."""
    return np.unique(np.rint(np.linspace(0, count - 1, min(POINTS, count))).astype(int))


def _phase(name: str, records: list[dict[str, Any]], batch: int) -> dict[str, Any]:
    first, last = records[0], records[-1]
    columns = {key: _column(records, key) for key in SERIES}
    width = round(SMOOTHING_WINDOW * len(records))
    drawn = _drawn(len(records))
    curves = {"step": [records[i]["step"] for i in drawn]}
    for key, values in columns.items():
        curves[key] = numbers(values[drawn])
        curves[f"{key}_smooth"] = numbers(running_mean(values, width)[drawn])
    return {
        "phase": name,
        "stage": first.get("stage"),
        "stream": first.get("stream", name.split("-")[0]),
        "first_step": first["step"],
        "last_step": last["step"],
        "steps": len(records),
        "first_epoch": first.get("epoch"),
        "last_epoch": last.get("epoch"),
        "ln_k": first.get("ln_k"),
        "diverged": not math.isfinite(columns["loss"][-1]),
        "start": {key: start_mean(values) for key, values in columns.items()},
        "end": {key: end_mean(values) for key, values in columns.items()},
        "timing": _timing(records, batch),
        "curves": curves,
    }


def _column(records: list[dict[str, Any]], key: str) -> NDArray[np.float64]:
    return np.array([_number(record.get(key)) for record in records], dtype=np.float64)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _timing(records: list[dict[str, Any]], batch: int) -> dict[str, Any]:
    """Totals of a phase. ``data_ms`` is the wait for the batch, ``compute_ms`` the rest of the step."""
    wait, step = (float(np.nansum(_column(records, key))) / 1000 for key in ("data_ms", "compute_ms"))
    seconds = wait + step
    return {
        "seconds": seconds,
        "data_wait_seconds": wait,
        "data_wait_share": wait / seconds if seconds else None,
        "samples_per_s": batch * len(records) / seconds if seconds else None,
        "workers": sorted({int(r["workers"]) for r in records if "workers" in r}),
    }
