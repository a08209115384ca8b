"""The retrieval table: R@k of every network of the run, with chance."""

from __future__ import annotations

from typing import Any

from vicc_ray.reports.run.data import RunData
from vicc_ray.reports.run.figure import Figure
from vicc_ray.reports.run.thumbnails import Thumbnails

BAR_ENDS = (0.1, 0.2, 0.4, 0.6, 0.8)


def read_retrieval(data: RunData) -> dict[str, Any] | None:
    """Content of evaluation.json."""
    if data.retrieval is None:
        data.missing["retrieval"] = _reason(data)
    return data.retrieval


def bar_end(table: dict[str, Any] | None) -> float:
    """R@1 at the right end of the bars: a round share above all intervals."""
    highs = [row["high"] for row in table["rows"] if row["high"] is not None] if table else []
    highest = max(highs, default=1.0)
    return next((end for end in BAR_ENDS if highest <= end), 1.0)


def _reason(data: RunData) -> str:
    if data.unlabeled:
        return (
            "The videos have no labels, and R@k is the share of videos whose nearest neighbors show the same class. "
            "For R@k, put the videos in one folder per class, or give --labels, and prepare them into another folder."
        )
    if data.features.names:
        return (
            "There are features but no scores: R@k needs labeled videos in both train and test. Run `vicc-ray "
            "evaluate` to see the reason."
        )
    return "Retrieval has not been evaluated yet. Run `vicc-ray evaluate`."


def _view(figures: dict[str, Any], thumbnails: Thumbnails | None) -> dict[str, Any]:
    return {"bar_end": bar_end(figures["retrieval"])}


FIGURE = Figure(10, read_retrieval, _view)
