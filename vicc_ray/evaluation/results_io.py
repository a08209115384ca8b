"""Reader of ``evaluation.json`` that validates presence and types: the file may come from somebody else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vicc_ray.utils.json_file import read_validated

RESULT_FILE = "evaluation.json"


@dataclass(frozen=True)
class RecallRow:
    """A network's key and recall, the least that any reader needs."""

    key: str
    recall: dict[str, float | None]

    def __post_init__(self) -> None:
        if "1" not in self.recall:
            raise ValueError("no recall at 1")


@dataclass(frozen=True)
class _ClassRecall:
    label: str
    queries: int
    recall_at_1: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class _ConfusedPair:
    query: str
    nearest: str
    count: int


@dataclass(frozen=True)
class _NetworkRow(RecallRow):
    name: str
    stream: str
    phase: str | None
    low: float | None
    high: float | None
    queries: int
    classes: list[_ClassRecall]
    confusion: list[_ConfusedPair]


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
    unlabeled: int
    without_split: int
    chance: float | None


@dataclass(frozen=True)
class _Warning:
    kind: str
    text: str


@dataclass(frozen=True)
class _Settings:
    exclude_same_source: bool
    seed: int


@dataclass(frozen=True)
class EvaluationResult:
    """The fields that reports, model cards and tables read."""

    rows: list[_NetworkRow]
    dataset: _Dataset
    gain: _Gain | None
    warnings: list[_Warning]
    settings: _Settings

    def __post_init__(self) -> None:
        if len({tuple(row.recall) for row in self.rows}) > 1:
            raise ValueError("rows with recall at different k")


@dataclass(frozen=True)
class RecallRows:
    """The recall of each network alone."""

    rows: list[RecallRow]


def read_result(folder: Path, kind: type[Any] = EvaluationResult) -> dict[str, Any] | None:
    """The content of ``folder/evaluation.json``; None where there is no such file.

    Args:
        kind: dataclass of the fields that must be there.

    Raises:
        UserError: the file is damaged, or lacks a field.
    """
    file, remedy = folder / RESULT_FILE, "delete it and run `vicc-ray evaluate` again"
    try:
        return read_validated(file, kind, "an evaluation's result", remedy)
    except (FileNotFoundError, NotADirectoryError):
        return None
