"""Accuracy of linear probes and of fine-tuned networks, as `vicc-ray classify` leaves it in a run's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vicc_ray.evaluation.classification import TABLE_FILE

FOLDER = "classify"
"""Of a run; see ``vicc_ray/pipelines/classify.py``."""


def read_classification(run: Path) -> dict[str, Any] | None:
    """The content of the run's ``classify/classification.json``, None where nothing was classified."""
    file = run / FOLDER / TABLE_FILE
    return dict(json.loads(file.read_text())) if file.exists() else None
