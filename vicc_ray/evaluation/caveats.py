"""Warnings under a retrieval table of few or unevenly distributed videos, with their effect on the figures.

k: neighbors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vicc_ray.evaluation.bootstrap import bootstrap_interval
from vicc_ray.evaluation.chance_level import GalleryCounts
from vicc_ray.evaluation.retrieval import FeatureSet, RetrievalResult, gallery_counts

FEW_VIDEOS = 32
"""Test videos below which any effect of centering is reported. With more it was under 3 points of R@1 where test and
training videos had the same class distribution (synthetic features, 2 and 8 classes, 64 and 512 dimensions)."""
REPORTED_DIFFERENCE = 0.03
MAX_NAMED_CLASSES = 3


@dataclass(frozen=True)
class ScoredNetwork:
    """A row of the retrieval table.

    Attributes:
        name: in words.
        result: with train and test videos centered on their own means, as in the table.
        train_centered: with the test videos centered on the mean of the training videos.
    """

    name: str
    result: RetrievalResult
    train_centered: RetrievalResult


def caveats(
    train: FeatureSet, test: FeatureSet, rows: Sequence[ScoredNetwork], exclude_same_source: bool, seed: int
) -> list[dict[str, str]]:
    """Warnings as ``{"kind", "text"}``.

    Kinds: ``unseen_classes`` (test videos without a training video of their class), ``omitted_recall`` (the R@k that
    are left out, and why) and ``centering`` (its effect on R@1).
    """
    counts = gallery_counts(train, test, exclude_same_source)
    texts = {
        "unseen_classes": _unseen_classes(test, counts, exclude_same_source),
        "omitted_recall": _omitted_recall(train, rows[0].result, counts, exclude_same_source),
        "centering": _centering(train, test, rows, counts, seed),
    }
    return [{"kind": kind, "text": text} for kind, text in texts.items() if text]


def _unseen_classes(test: FeatureSet, counts: GalleryCounts, exclude_same_source: bool) -> str:
    unseen = counts.matches == 0
    if not unseen.any():
        return ""
    labels = sorted(set(test.labels[test.labels != ""][unseen].tolist()))
    more = f" and {len(labels) - MAX_NAMED_CLASSES} more" if len(labels) > MAX_NAMED_CLASSES else ""
    named = ", ".join(labels[:MAX_NAMED_CLASSES]) + more
    return (
        f"{unseen.sum()} of {len(unseen)} test videos have no training video of their class"
        f"{_of_another_source(exclude_same_source)} ({named}): they count as misses for every network."
    )


def _omitted_recall(
    train: FeatureSet, result: RetrievalResult, counts: GalleryCounts, exclude_same_source: bool
) -> str:
    omitted = [k for k in result.recall if not counts.is_informative(k)]
    if not omitted:
        return ""
    which = ", ".join(f"R@{k}" for k in omitted)
    if 1 in omitted:
        classes = len(set(train.labels.tolist()))
        why = f"there are {len(train)} training videos of {classes} class{'es' if classes > 1 else ''}"
        return f"{which}: not reported, since every test video hits or misses with any network ({why})."
    others = int((counts.candidates - counts.matches).min())
    return (
        f"{which}: not reported, since so many neighbors contain a hit with any network (a test video has "
        f"{counts.min_candidates} training videos{_of_another_source(exclude_same_source)} to find, {others} of them "
        "of other classes)."
    )


def _of_another_source(exclude_same_source: bool) -> str:
    return " of another source" if exclude_same_source else ""


def _centering(
    train: FeatureSet, test: FeatureSet, rows: Sequence[ScoredNetwork], counts: GalleryCounts, seed: int
) -> str:
    if not counts.is_informative(1):
        return ""
    instead = "Centered on the mean of the training videos instead"
    if len(test) == 1:
        recalls = "; ".join(f"{row.name} {_percent(row.train_centered)}" for row in rows)
        return (
            "There is one test video. Centered on its own mean it is a vector of zeros, equally near to all training "
            f"videos, so no R@k is reported. {instead}, R@1 is: {recalls}."
        )
    changed = [row for row in rows if _differs(row, len(test), seed)]
    if len(set(test.labels.tolist())) == 1:
        changed = list(rows)
        why = (
            f"All {len(test)} test videos are of one class ({test.labels[0]}). Centering them on their own mean "
            "removes what they have in common, which is the class: R@1 is near chance whatever the network learned."
        )
    elif not changed:
        return ""
    else:
        label, in_test, in_train = _most_uneven_class(train, test)
        why = (
            f"Centering the {len(test)} test videos on their own mean changes R@1, as with few videos or where the "
            f"class distributions of test and training videos differ ({label}: {100 * in_test:.0f} % of the test "
            f"videos, {100 * in_train:.0f} % of the training videos)."
        )
    recalls = "; ".join(f"{row.name} {_percent(row.train_centered)}, not {_percent(row.result)}" for row in changed)
    return f"{why} {instead}, R@1 is: {recalls}."


def _differs(row: ScoredNetwork, videos: int, seed: int) -> bool:
    """Whether centering matters: at all with few videos, else significantly and by 3 points or more."""
    difference = row.train_centered.hits.astype(int) - row.result.hits.astype(int)
    if videos < FEW_VIDEOS:
        return abs(difference.mean()) > 0
    low, high = bootstrap_interval(difference, seed)
    return abs(difference.mean()) >= REPORTED_DIFFERENCE and not low <= 0 <= high


def _most_uneven_class(train: FeatureSet, test: FeatureSet) -> tuple[str, float, float]:
    """The class whose fractions of test and of training videos differ most, and both fractions."""
    of_test, of_train = (Counter(videos.labels.tolist()) for videos in (test, train))
    fractions = [
        (label, of_test[label] / len(test), of_train[label] / len(train)) for label in sorted({*of_test, *of_train})
    ]
    return max(fractions, key=lambda entry: abs(entry[1] - entry[2]))


def _percent(result: RetrievalResult) -> str:
    return f"{100 * result.recall[1]:.1f} %"
