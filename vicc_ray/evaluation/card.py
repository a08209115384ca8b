"""What a file of weights says of itself to people: what it is, how it is used, how it was made and how good it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vicc_ray import __version__
from vicc_ray.evaluation.table import RESULT_FILE
from vicc_ray.models.weights_file import EncoderWeights
from vicc_ray.templates import load_templates


def measured(run: Path, turn: str) -> dict[str, Any]:
    """What the evaluation of a run says of the network after ``turn``, for its card; empty where there is none."""
    file = run / "evaluation" / RESULT_FILE
    if not file.exists():
        return {}
    result = json.loads(file.read_text())
    row = next((row for row in result["rows"] if row["key"] == turn), None)
    if row is None:
        return {}
    kept = ("name", "recall", "low", "high", "queries")
    found = {"data": result["dataset"], "retrieval": {name: row[name] for name in kept}}
    return {**found, "warnings": result.get("warnings", [])}


def card_text(weights: EncoderWeights, files: Sequence[str]) -> str:
    """The card as Markdown.

    Args:
        files: names of the files beside it.
    """
    templates = load_templates("vicc_ray.evaluation", "templates", html=False)
    templates.filters["percent"] = _percent
    return templates.get_template("card.md.j2").render(
        weights=weights,
        card={"recipe": {}, "retrieval": {}, "warnings": [], **weights.card},
        files=files,
        fixed=[f"`{name}`" for name in files if not name.endswith(".safetensors")],
        version=__version__,
        recipe=json.dumps(weights.card.get("recipe", {}), indent=1),
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
