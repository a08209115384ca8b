"""Training time of each phase, wall-clock time of each stage, and what became of every input video."""

from __future__ import annotations

from collections import Counter
from typing import Any

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.reports.run.data import RunData
from vicc_ray.reports.run.figure import Figure
from vicc_ray.runs.stage_times import stage_seconds
from vicc_ray.utils.jsonl import read_lines

FAILURES = 12
"""Failed inputs listed on the page; the others are counted."""


def read_timing(data: RunData) -> dict[str, Any]:
    """``training``: totals over the phases (None without steps); ``stages``: seconds by stage; ``inputs``: counts."""
    return {
        "training": total_timing(data.phases),
        "stages": stage_seconds(data.run_dir),
        "inputs": None if data.store is None else count_inputs(data.store),
    }


def total_timing(phases: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Sums over the phases; None without steps."""
    timed = [phase for phase in phases if phase["timing"]["seconds"]]
    if not timed:
        return None
    seconds = sum(phase["timing"]["seconds"] for phase in timed)
    wait = sum(phase["timing"]["data_wait_seconds"] for phase in timed)
    samples = sum(phase["timing"]["samples_per_s"] * phase["timing"]["seconds"] for phase in timed)
    peaks = [phase["epochs"]["memory_peak_mib"] for phase in phases if phase["epochs"]]
    return {
        "steps": sum(phase["steps"] for phase in phases),
        "seconds": seconds,
        "data_wait_share": wait / seconds,
        "samples_per_s": samples / seconds,
        "workers": sorted({w for phase in phases for w in phase["timing"]["workers"]}),
        "memory_peak_mib": max((peak for peak in peaks if peak is not None), default=None),
    }


def count_inputs(store: ClipStore) -> dict[str, Any]:
    """What became of every input of ``prepare``: stored videos by split and class, failures with their reasons."""
    entries = store.entries
    splits = Counter(entry.split for entry in entries)
    failures = read_lines(store.failures_file)
    return {
        "all": len(entries) + len(failures),
        "videos": len(entries),
        "splits": {name: splits[name] for name in ("train", "test", "") if splits[name]},
        "classes": dict(sorted(Counter(entry.label for entry in entries if entry.label).items())),
        "sources": len({entry.source for entry in entries if entry.source}),
        "frames": sum(entry.frames for entry in entries),
        "seconds": sum(entry.frames / entry.fps for entry in entries if entry.fps > 0),
        "failed": len(failures),
        "failures": [
            {"path": str(line.get("path", "")), "reason": str(line.get("reason", ""))} for line in failures[:FAILURES]
        ],
    }


FIGURE = Figure(100, read_timing)
