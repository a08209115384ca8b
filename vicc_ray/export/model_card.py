"""Model card of a weights file as Markdown: what the network is, how to use it, how it was trained, how good it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from markupsafe import Markup
from pydantic import BaseModel, Field, StringConstraints, ValidationError

from vicc_ray import __version__
from vicc_ray.evaluation.results_io import read_result
from vicc_ray.models.weights_io import EncoderWeights
from vicc_ray.utils.html import load_templates
from vicc_ray.utils.markdown import as_block, as_code, as_sentences

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=10**12)]
Location = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,3}$")]


class RetrievalScores(BaseModel):
    """Recall at k of one network; None where it says nothing about the network."""

    name: str
    recall: Annotated[dict[Location, Fraction | None], Field(min_length=1, max_length=20)]
    low: Fraction | None
    high: Fraction | None


class DatasetCounts(BaseModel):
    """Numbers of videos and classes of the evaluation."""

    test: Count
    train: Count
    classes: Count
    chance: Fraction | None


class CardWarning(BaseModel):
    """A warning of the evaluation."""

    text: str


class CardFields(BaseModel):
    """Fields that a weights file gives about itself. They come from whoever wrote the file, so all are validated."""

    recipe: dict[str, Any] = {}
    checkpoint: str = ""
    step: Count = 0
    epoch: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    data: DatasetCounts | None = None
    retrieval: RetrievalScores | None = None
    warnings: Annotated[list[CardWarning], Field(max_length=20)] = []


def card_results(run: Path, phase: str) -> dict[str, Any]:
    """Card fields from the evaluation of a run, for its network after ``phase``; {} where it was not evaluated."""
    result = read_result(run / "evaluation")
    row = next((row for row in result["rows"] if row["key"] == phase), None) if result else None
    if result is None or row is None:
        return {}
    scores = {name: row[name] for name in ("name", "recall", "low", "high", "queries")}
    return {"data": result["dataset"], "retrieval": scores, "warnings": result.get("warnings", [])}


def card_text(weights: EncoderWeights, files: Sequence[str]) -> str:
    """The card as Markdown.

    Args:
        files: names of the exported files next to the card.
    """
    templates = load_templates("vicc_ray.export", "templates", html=False)
    templates.filters.update(percent=_percent, points=_points, code=_code, sentences=_sentences)
    fixed_size = [as_code(name) for name in files if not name.endswith(".safetensors")]
    card = _validated(weights.card)
    return templates.get_template("card.md.j2").render(
        weights=weights,
        card=card,
        title=card.recipe.get("name", "a run") if card.recipe else "imported",
        files=files,
        fixed_size=Markup(" and ".join(fixed_size)),
        version=Markup(__version__),
        details=Markup(as_block(card.recipe or weights.card)),
    )


def _validated(content: dict[str, Any]) -> CardFields:
    """The card's fields; no fields if one of them is invalid, and the card then shows its content verbatim."""
    try:
        card = CardFields.model_validate(content)
    except ValidationError:
        return CardFields()
    has_scores = card.retrieval is not None and card.data is not None and "1" in card.retrieval.recall
    return card if has_scores else card.model_copy(update={"retrieval": None})


def _code(field: str) -> Markup:
    return Markup(as_code(field))


def _sentences(field: str) -> Markup:
    return Markup(as_sentences(field))


def _points(share: float) -> Markup:
    return Markup(f"{100 * share:.1f}")


def _percent(share: float | None) -> Markup:
    return Markup("–" if share is None else f"{100 * share:.1f} %")
