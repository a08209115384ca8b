"""``evaluation.json`` of a run that somebody else may have made: what is read of it is there, and of its type."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vicc_ray.utils.json_file import read_checked

RESULT_FILE = "evaluation.json"


@dataclass(frozen=True)
class RecallRow:
    """The least that is read of a network: R@1 by its key."""

    key: str
    recall: dict[str, float | None]

    def __post_init__(self) -> None:
        if "1" not in self.recall:
            raise ValueError("no recall at 1")


@dataclass(frozen=True)
class _Class:
    label: str
    queries: int
    recall_at_1: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class _Pair:
    query: str
    nearest: str
    count: int


@dataclass(frozen=True)
class _Row(RecallRow):
    name: str
    stream: str
    phase: str | None
    low: float | None
    high: float | None
    queries: int
    classes: list[_Class]
    confusion: list[_Pair]


@dataclass(frozen=True)
class _Gain:
    to: str
    recall_at_1: float
    low: float
    high: float


@dataclass(frozen=True)
class _Dataset:
    videos: int
    train: int
    test: int
    classes: int
    sources: int
    unlabelled: int
    without_split: int
    chance: float | None


@dataclass(frozen=True)
class _Warning:
    kind: str
    text: str


@dataclass(frozen=True)
class _Settings:
    ignore_same_source: bool
    seed: int


@dataclass(frozen=True)
class EvaluationResult:
    """All that pages, cards and tables read of it."""

    rows: list[_Row]
    dataset: _Dataset
    gain: _Gain | None
    warnings: list[_Warning]
    settings: _Settings

    def __post_init__(self) -> None:
        if len({tuple(row.recall) for row in self.rows}) > 1:
            raise ValueError("rows with recall at other ranks than the first has")


@dataclass(frozen=True)
class RecallRows:
    """Of a result, R@1 alone."""

    rows: list[RecallRow]


def read_result(folder: Path, kind: type[Any] = EvaluationResult) -> dict[str, Any] | None:
    """The content of ``folder/evaluation.json``, None where there is none.

    Args:
        kind: what of it must be there.

    Raises:
        UserError: it is damaged, or something is missing in it.
    """
    file, remedy = folder / RESULT_FILE, "delete it and run `vicc-ray evaluate` again"
    try:
        return read_checked(file, kind, "an evaluation's result", remedy)
    except (FileNotFoundError, NotADirectoryError):
        return None
