"""Writers of a run's features and metrics, for fixtures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.evaluation.feature_store import FeatureTable

PROTOTYPES = 20
PHASES = ("rgb-stage1", "flow-stage1", "rgb-stage2-1", "flow-stage2-1")


def features_of(store: ClipStore, seed: int) -> FeatureTable:
    """Random features for every video of ``store``."""
    entries = store.entries
    return FeatureTable(
        np.array([e.id for e in entries]),
        np.array([e.label for e in entries]),
        np.array([e.source for e in entries]),
        np.array([e.split for e in entries]),
        np.random.default_rng(seed).normal(size=(len(entries), 4)),
    )


EPOCH = 10  # steps


def write_metrics(run: Path, end: float = 1.0, entropy: float = 0.97, rank: float = 12.0) -> None:
    """Write metrics of four phases: losses fall from ln K to ``end``, assignments have ``entropy`` x ln K."""
    ln_k = math.log(PROTOTYPES)
    lines, epochs, checks = [], [], []
    for index, phase in enumerate(PHASES):
        stream = phase.split("-")[0]
        for n in range(60):
            step = index * 60 + n
            values = {
                "step": step,
                "epoch": step // 10,
                "phase": phase,
                "stage": 1 + ("stage2" in phase),
                "stream": stream,
            }
            loss = ln_k + (end - ln_k) * min(1.0, n / 40)
            values |= {"loss": loss, "learning_rate": 0.1, "entropy": entropy * ln_k, "assignment_entropy": 1.0}
            values |= {"ln_k": ln_k, "prototypes_used": 14, "data_ms": 10.0, "compute_ms": 30.0, "samples_per_s": 400.0}
            lines.append({**values, "workers": 2})
            if (n + 1) % EPOCH == 0:
                place = {"step": step + 1, "epoch": (step + 1) // EPOCH, "phase": phase, "stream": stream, "ln_k": ln_k}
                figures = {"steps": EPOCH, "loss": loss, "effective_rank": rank, "gradient_norm": 2.0}
                use = {"prototypes_in_use": 0.9, "prototypes_effective": 0.8, "data_wait_share": 0.25}
                epochs.append({**place, **figures, **use, "memory_peak_mib": 1024.0 + n, "problems": []})
        check = {"step": index * 60 + 59, "epoch": 6 * index + 5, "phase": phase, "stream": stream}
        checks.append({**check, "recall_at_1": 0.5, "low": 0.4, "high": 0.6, "videos": 4})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "epochs.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    (run / "validation.jsonl").write_text("".join(json.dumps(check) + "\n" for check in checks))
