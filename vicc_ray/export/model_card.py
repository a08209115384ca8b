"""What a file of weights says of itself to people: what it is, how it is used, how it was made and how good it is."""

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
    """Recall at k of one network; None where it tells nothing."""

    name: str
    recall: Annotated[dict[Location, Fraction | None], Field(min_length=1, max_length=20)]
    low: Fraction | None
    high: Fraction | None


class DatasetCounts(BaseModel):
    """On what it was measured."""

    test: Count
    train: Count
    classes: Count
    chance: Fraction | None


class CardWarning(BaseModel):
    """What is to be kept in mind."""

    text: str


class CardFields(BaseModel):
    """What a file of weights says of itself: written by whoever made it, so every field is looked at."""

    recipe: dict[str, Any] = {}
    checkpoint: str = ""
    step: Count = 0
    epoch: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    data: DatasetCounts | None = None
    retrieval: RetrievalScores | None = None
    warnings: Annotated[list[CardWarning], Field(max_length=20)] = []


def card_results(run: Path, phase: str) -> dict[str, Any]:
    """What the evaluation of a run says of the network after ``phase``, for its card; empty where there is none."""
    result = read_result(run / "evaluation")
    row = next((row for row in result["rows"] if row["key"] == phase), None) if result else None
    if result is None or row is None:
        return {}
    kept = ("name", "recall", "low", "high", "queries")
    found = {"data": result["dataset"], "retrieval": {name: row[name] for name in kept}}
    return {**found, "warnings": result.get("warnings", [])}


def card_text(weights: EncoderWeights, files: Sequence[str]) -> str:
    """The card as Markdown.

    Args:
        files: names of the files beside it.
    """
    templates = load_templates("vicc_ray.export", "templates", html=False)
    templates.filters.update(percent=_percent, points=_points, code=_code, sentences=_sentences)
    fixed = [as_code(name) for name in files if not name.endswith(".safetensors")]
    card = _read(weights.card)
    return templates.get_template("card.md.j2").render(
        weights=weights,
        card=card,
        title=card.recipe.get("name", "a run") if card.recipe else "imported",
        files=files,
        fixed=Markup(" and ".join(fixed)),
        version=Markup(__version__),
        told=Markup(as_block(card.recipe or weights.card)),
    )


def _read(told: dict[str, Any]) -> CardFields:
    """The card's fields; none where one of them is not what it should be: it is shown as it is then."""
    try:
        card = CardFields.model_validate(told)
    except ValidationError:
        return CardFields()
    whole = card.retrieval is not None and card.data is not None and "1" in card.retrieval.recall
    return card if whole else card.model_copy(update={"retrieval": None})


def _code(field: str) -> Markup:
    return Markup(as_code(field))


def _sentences(field: str) -> Markup:
    return Markup(as_sentences(field))


def _points(share: float) -> Markup:
    return Markup(f"{100 * share:.1f}")


def _percent(share: float | None) -> Markup:
    return Markup("–" if share is None else f"{100 * share:.1f} %")
