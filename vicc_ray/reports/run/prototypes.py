"""The most used prototypes, with the videos closest to each. K prototypes, D embedding."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vicc_ray.config import Config
from vicc_ray.evaluation.feature_store import FeatureFolder, FeatureTable
from vicc_ray.evaluation.retrieval_results import latest_network
from vicc_ray.models.encoder import build_encoder
from vicc_ray.registry import OBJECTIVES
from vicc_ray.reports.run.data import RunData
from vicc_ray.reports.run.figure import Figure
from vicc_ray.runs.checkpoint_state import load_encoder_tensors, load_prototypes
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.runs.schedule import build_phases

SHOWN, CLOSEST = 8, 5


def read_prototypes(run: Path, config: Config, features: FeatureFolder) -> dict[str, Any] | None:
    """The most used prototypes of the RGB network that was trained last.

    A video is assigned to the prototype with the highest score for its embedding (the head's output for its features).

    Args:
        features: of the run's ``evaluation``.

    Returns:
        ``all`` (K), ``used`` (with at least one video) and ``prototypes``, most used first: ``index``, ``videos``
        (assigned to it), ``label`` and ``share`` of the most frequent label among them ("" and None without labels),
        ``closest`` [{"id", "label"}]. None without features or a checkpoint, or if the objective has no prototypes.
    """
    name = latest_network(features.names, "rgb")
    if name is None or not OBJECTIVES[config.method.objective].has_prototypes:
        return None
    phase = next((phase for phase in build_phases(config.schedule) if phase.name == name), None)
    checkpoint = RunDir(run).phase_checkpoint(phase.index, name) if phase else run
    if phase is None or not checkpoint.exists():
        return None
    table = features.load(name)
    scores = _scores(table, checkpoint, config)
    best = scores.argmax(1)
    used = Counter(best.tolist())
    return {
        "all": scores.shape[1],
        "used": len(used),
        "prototypes": [_prototype(table, scores, best == index, index) for index, _ in used.most_common(SHOWN)],
    }


def _scores(table: FeatureTable, checkpoint: Path, config: Config) -> Tensor:
    """Cosine of every video's embedding with every prototype, [N, K]."""
    encoder = build_encoder(config.model).eval()
    encoder.load_state_dict(load_encoder_tensors(checkpoint, "rgb"))
    with torch.inference_mode():
        embedded = normalize(encoder.head(torch.from_numpy(table.features)), dim=1)
        return embedded @ normalize(load_prototypes(checkpoint, "rgb"), dim=1).T


def _prototype(table: FeatureTable, scores: Tensor, assigned: Tensor, index: int) -> dict[str, Any]:
    labels = Counter(label for label in table.labels[assigned.numpy()].tolist() if label)
    label, count = labels.most_common(1)[0] if labels else ("", 0)
    rows = np.flatnonzero(assigned.numpy())
    closest = rows[np.argsort(-scores[rows, index].numpy(), kind="stable")][:CLOSEST]
    return {
        "index": index,
        "videos": int(assigned.sum()),
        "label": label,
        "share": count / int(assigned.sum()) if labels else None,
        "closest": [{"id": str(table.ids[row]), "label": str(table.labels[row])} for row in closest],
    }


def _read(data: RunData) -> dict[str, Any] | None:
    return read_prototypes(data.run_dir, data.config, data.features)


FIGURE = Figure(60, _read)
