"""A map of the videos: features in two dimensions, so that videos that the network finds alike lie together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicc_ray.evaluation.feature_store import FeatureFolder, FeatureTable
from vicc_ray.evaluation.normalized_features import NormalizedFeatures
from vicc_ray.evaluation.retrieval_results import latest_network, row_label

MOST = 480
"""Videos shown: each has a picture in the page."""
PERPLEXITY = 30.0
"""About how many videos a video's neighbourhood on the map has."""
FEWEST = 8


def read_map(features: FeatureFolder, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Places of the test videos (and, where they are few, train videos) by the RGB network that was trained last.

    Args:
        features: of a run's ``evaluation``. ``settings``: ``seed``, ``cross_stream``.

    Returns:
        ``network``, ``videos`` (of how many these are drawn), ``labels`` (sorted) and ``points`` [{"id", "label" (its
        place in labels, -1 for none), "x", "y": 0 to 1}]; None without features or with fewer than ``FEWEST`` videos.
    """
    name = latest_network(features.names, "rgb")
    if name is None:
        return None
    table = features.load(name)
    chosen = _choose(table, settings["seed"])
    if len(chosen) < FEWEST:
        return None
    places = flat(table.features[chosen], settings["seed"])
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
            for row, (x, y) in zip(chosen, places, strict=True)
        ],
    }


def flat(features: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """Places [N, 2], 0 to 1, of features [N, F] by t-SNE on the cosine; the same each time."""
    from sklearn.manifold import TSNE  # takes a second to import, and only a report needs it

    unit = NormalizedFeatures(features).rows(0, len(features)).numpy()
    perplexity = min(PERPLEXITY, (len(unit) - 1) / 3)
    placed = TSNE(2, perplexity=perplexity, init="pca", random_state=seed % 2**32).fit_transform(unit)
    low, high = placed.min(0), placed.max(0)
    return np.asarray((placed - low) / np.maximum(high - low, 1e-9), np.float64)


def _choose(table: FeatureTable, seed: int) -> NDArray[np.int64]:
    """Rows shown: test videos before others, drawn at random within each."""
    order = np.random.default_rng(seed).permutation(len(table.ids))
    order = order[np.argsort(table.splits[order] != "test", kind="stable")]
    return np.sort(order[:MOST])
