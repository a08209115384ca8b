"""What a reader must know of a retrieval table of few or uneven videos, with the figures it comes to. k neighbours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vicc_ray.evaluation.bootstrap import bootstrap_interval
from vicc_ray.evaluation.chance_level import Galleries
from vicc_ray.evaluation.retrieval import FeatureSet, Retrieval, galleries

FEW = 32
"""Test videos under which any effect of centring is told: from there on it was under 3 points of R@1 where the classes
had the same shares among test and training videos (made features, 2 and 8 classes, 64 and 512 dimensions)."""
NAMED = 3


@dataclass(frozen=True)
class Judged:
    """A row of the table: its name, what retrieval found, and what it finds with the test videos centred on the mean of
    the training videos."""

    name: str
    own: Retrieval
    by_train: Retrieval


def caveats(
    train: FeatureSet, test: FeatureSet, rows: Sequence[Judged], ignore_same_source: bool, seed: int
) -> list[dict[str, str]]:
    """Each as ``{"kind", "text"}``: ``unseen_classes``, ``untold`` (figures that are left out, and why) and
    ``centring`` (what it does to R@1)."""
    choice = galleries(train, test, ignore_same_source)
    found = {
        "unseen_classes": _unseen(test, choice, ignore_same_source),
        "untold": _untold(train, rows[0].own, choice, ignore_same_source),
        "centring": _centring(train, test, rows, choice, seed),
    }
    return [{"kind": kind, "text": text} for kind, text in found.items() if text]


def _unseen(test: FeatureSet, choice: Galleries, ignore_same_source: bool) -> str:
    without = choice.right == 0
    if not without.any():
        return ""
    labels = sorted(set(test.labels[test.labels != ""][without].tolist()))
    named = ", ".join(labels[:NAMED]) + (f" and {len(labels) - NAMED} more" if len(labels) > NAMED else "")
    source = " of another source" if ignore_same_source else ""
    return (
        f"{without.sum()} of {len(without)} test videos have no training video of their class{source} ({named}): they "
        "miss whatever the network is."
    )


def _untold(train: FeatureSet, found: Retrieval, choice: Galleries, ignore_same_source: bool) -> str:
    missing = [k for k in found.recall if not choice.tells(k)]
    if not missing:
        return ""
    which = ", ".join(f"R@{k}" for k in missing)
    if 1 in missing:
        classes = len(set(train.labels.tolist()))
        why = f"the training videos are {len(train)}, of {classes} class{'es' if classes > 1 else ''}"
        return f"{which}: not told, since every test video hits or misses whatever the network is ({why})."
    source = " of another source" if ignore_same_source else ""
    return (
        f"{which}: not told, since so many neighbours hit whatever the network is (a test video has {choice.smallest} "
        f"training videos{source} to find, {int((choice.permitted - choice.right).min())} of them of other classes)."
    )


def _centring(train: FeatureSet, test: FeatureSet, rows: Sequence[Judged], choice: Galleries, seed: int) -> str:
    if not choice.tells(1):
        return ""
    instead = "Centred on the mean of the training videos instead"
    if len(test) == 1:
        told = "; ".join(f"{row.name} {_percent(row.by_train)}" for row in rows)
        return (
            "There is one test video: centred on its own mean it is a vector of zeros, to which no training video is "
            f"nearer than another, so no R@k is told. {instead}, R@1 is: {told}."
        )
    changed = [row for row in rows if _differs(row, len(test), seed)]
    classes = Counter(test.labels.tolist())
    if len(classes) == 1:
        why = f"All {len(test)} test videos are of one class ({test.labels[0]}): to centre them on their own mean takes"
        why += " away what they have in common, which is the class, and R@1 comes near chance whatever was learnt."
        changed = list(rows)
    elif not changed:
        return ""
    else:
        label, own, theirs = _most_uneven(train, test)
        why = (
            f"To centre the {len(test)} test videos on their own mean changes R@1, as it does with few videos or with "
            f"other shares of the classes than in training ({label}: {100 * own:.0f} % of the test videos, "
            f"{100 * theirs:.0f} % of the training videos)."
        )
    told = "; ".join(f"{row.name} {_percent(row.by_train)}, not {_percent(row.own)}" for row in changed)
    return f"{why} {instead}, R@1 is: {told}."


def _differs(row: Judged, videos: int, seed: int) -> bool:
    """Whether centring matters: at all with few videos, else beyond chance and by 3 points or more."""
    difference = row.by_train.hits.astype(int) - row.own.hits.astype(int)
    low, high = bootstrap_interval(difference, seed)
    return abs(difference.mean()) > 0 if videos < FEW else abs(difference.mean()) >= 0.03 and not low <= 0 <= high


def _most_uneven(train: FeatureSet, test: FeatureSet) -> tuple[str, float, float]:
    """The class whose shares differ most, and its share of test and of training videos."""
    shares = [
        (label, float((test.labels == label).mean()), float((train.labels == label).mean()))
        for label in sorted({*test.labels.tolist(), *train.labels.tolist()})
    ]
    return max(shares, key=lambda share: abs(share[1] - share[2]))


def _percent(found: Retrieval) -> str:
    return f"{100 * found.recall[1]:.1f} %"
