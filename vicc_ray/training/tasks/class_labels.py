"""Which videos a classifier learns from and which it is tested on, and what becomes of the others. N videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vicc_ray.errors import UserError

NO_LABELS = (
    "put the videos in one folder a class, or prepare them with a labels file (columns path,label,source,split) into "
    "another store"
)


@dataclass(frozen=True)
class ClassLabels:
    """Labels as a classifier takes them.

    Attributes:
        classes: names, sorted: the labels of the split train.
        train, test: bool [N], the labelled videos of the two splits; of test those of the known classes.
        left_out: counts: ``train_unlabelled``, ``test_unlabelled``, ``test_unknown_class``.
        unknown: names of the classes that only test videos have, sorted.
    """

    classes: list[str]
    train: np.ndarray
    test: np.ndarray
    left_out: dict[str, int]
    unknown: list[str]

    @classmethod
    def of(cls, labels: Sequence[str] | np.ndarray, splits: Sequence[str] | np.ndarray) -> ClassLabels:
        """Of all videos' labels ("" where unknown) and splits.

        Raises:
            UserError: there are no labels, fewer than two classes to tell apart, or no test video of any of them.
        """
        label, split = np.asarray(labels, dtype=str), np.asarray(splits, dtype=str)
        labelled, of_train, of_test = label != "", split == "train", split == "test"
        classes = sorted(set(label[labelled & of_train].tolist()))
        _check_classes(classes, int(labelled.sum()), len(label))
        known = np.isin(label, classes)
        test = of_test & labelled & known
        if not test.any():
            raise UserError(
                f"no video of the split 'test' has a label that training videos have ({len(classes)} classes, "
                f"{int(of_test.sum())} test videos): recognition could not be tested; prepare with a split column or a "
                "larger evaluate.test_share"
            )
        left_out = {
            "train_unlabelled": int((of_train & ~labelled).sum()),
            "test_unlabelled": int((of_test & ~labelled).sum()),
            "test_unknown_class": int((of_test & labelled & ~known).sum()),
            "without_split": int((~of_train & ~of_test).sum()),
        }
        unknown = sorted(set(label[of_test & labelled & ~known].tolist()))
        return cls(classes, of_train & labelled, test, left_out, unknown)

    def numbers(self, labels: Sequence[str] | np.ndarray) -> np.ndarray:
        """The places of labels among the classes, int64; all must be known."""
        place = {name: n for n, name in enumerate(self.classes)}
        return np.array([place[label] for label in np.asarray(labels, dtype=str).tolist()], np.int64)

    def notes(self) -> list[str]:
        """What was left out, a line each."""
        found = []
        unlabelled = {"train": self.left_out["train_unlabelled"], "test": self.left_out["test_unlabelled"]}
        for split, used in (("train", self.train), ("test", self.test)):
            if unlabelled[split]:
                found.append(f"{unlabelled[split]} {split} videos without a label are left out, {used.sum()} are used")
        if self.unknown:
            found.append(
                f"{self.left_out['test_unknown_class']} test videos are left out: no training video has their class "
                f"({_some(self.unknown)})"
            )
        if self.left_out["without_split"]:
            found.append(f"{self.left_out['without_split']} of {len(self.train)} videos are in neither split: left out")
        return found


def _check_classes(classes: list[str], labelled: int, videos: int) -> None:
    if not labelled:
        raise UserError(f"none of the {videos} videos has a label, so no action can be learnt: {NO_LABELS}")
    if not classes:
        raise UserError(
            f"{labelled} of {videos} videos have a label, but none of the split 'train', so no action can be learnt; "
            "prepare with a split column or a smaller evaluate.test_share"
        )
    if len(classes) == 1:
        raise UserError(
            f"all labelled training videos have the class {classes[0]!r}: there is nothing to tell apart; {NO_LABELS}"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
