"""A map of the videos: their features in two dimensions by t-SNE, so that similar videos are close together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicc_ray.evaluation.feature_store import FeatureFolder, FeatureTable
from vicc_ray.evaluation.normalized_features import NormalizedFeatures
from vicc_ray.evaluation.retrieval_results import latest_network, row_label
from vicc_ray.reports.run.data import RunData
from vicc_ray.reports.run.figure import Figure
from vicc_ray.reports.run.thumbnails import Thumbnails

MAX_VIDEOS = 480
"""Videos on the map: each has a picture in the page."""
PERPLEXITY = 30.0
"""About how many neighbors a video has on the map."""
MIN_VIDEOS = 8


def read_map(features: FeatureFolder, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Positions of the test videos (and, if these are few, train videos) by the RGB network that was trained last.

    Args:
        features: of a run's ``evaluation``. ``settings``: ``seed``, ``cross_stream``.

    Returns:
        ``network``, ``videos`` (how many these are drawn from), ``labels`` (sorted) and ``points`` [{"id", "label"
        (index in labels, -1 for none), "x", "y": 0 to 1}]; None without features or with fewer than
        :data:`MIN_VIDEOS` videos.
    """
    name = latest_network(features.names, "rgb")
    if name is None:
        return None
    table = features.load(name)
    chosen = _choose(table, settings["seed"])
    if len(chosen) < MIN_VIDEOS:
        return None
    positions = project(table.features[chosen], settings["seed"])
    labels = sorted(set(table.labels[chosen].tolist()) - {""})
    return {
        "network": row_label(name, features.names, settings["cross_stream"]),
        "videos": len(table.ids),
        "labels": labels,
        "points": [
            {
                "id": str(table.ids[row]),
                "label": labels.index(str(table.labels[row])) if table.labels[row] else -1,
                **{"x": round(float(x), 4), "y": round(float(y), 4)},
            }
            for row, (x, y) in zip(chosen, positions, strict=True)
        ],
    }


def project(features: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """Positions [N, 2], 0 to 1, of features [N, F] by t-SNE on the cosine; deterministic for a seed."""
    from sklearn.manifold import TSNE  # takes a second to import, and only a report needs it

    unit = NormalizedFeatures(features).rows(0, len(features)).numpy()
    perplexity = min(PERPLEXITY, (len(unit) - 1) / 3)
    embedded = TSNE(2, perplexity=perplexity, init="pca", random_state=seed % 2**32).fit_transform(unit)
    low, high = embedded.min(0), embedded.max(0)
    return np.asarray((embedded - low) / np.maximum(high - low, 1e-9), np.float64)


def _choose(table: FeatureTable, seed: int) -> NDArray[np.int64]:
    """Rows to show: test videos before others, each drawn at random."""
    order = np.random.default_rng(seed).permutation(len(table.ids))
    order = order[np.argsort(table.splits[order] != "test", kind="stable")]
    return np.sort(order[:MAX_VIDEOS])


def _read(data: RunData) -> dict[str, Any] | None:
    return read_map(data.features, data.retrieval_settings)


def _view(figures: dict[str, Any], thumbnails: Thumbnails | None) -> dict[str, Any]:
    points = figures["embedding_map"]["points"] if figures["embedding_map"] else []
    return {"posters": thumbnails.posters([point["id"] for point in points]) if thumbnails and points else None}


FIGURE = Figure(50, _read, _view)
