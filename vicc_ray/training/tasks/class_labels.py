"""Class labels: the videos that a classifier trains and is tested on, and those left out. N videos."""

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
    """Classes of a data set and the videos that use them.

    Attributes:
        classes: sorted names: the labels of the train split.
        train, test: bool [N], labeled videos of the two splits; in test, videos of known classes only.
        left_out: counts of videos: ``train_unlabeled``, ``test_unlabeled``, ``test_unknown_class``.
        unknown: sorted names of classes that only test videos have.
    """

    classes: list[str]
    train: np.ndarray
    test: np.ndarray
    left_out: dict[str, int]
    unknown: list[str]

    @classmethod
    def of(cls, labels: Sequence[str] | np.ndarray, splits: Sequence[str] | np.ndarray) -> ClassLabels:
        """Classes and videos from the labels ("" where unknown) and splits of all videos.

        Raises:
            UserError: there are no labels, fewer than two classes, or no test video of any class.
        """
        label, split = np.asarray(labels, dtype=str), np.asarray(splits, dtype=str)
        labeled, in_train, in_test = label != "", split == "train", split == "test"
        classes = sorted(set(label[labeled & in_train].tolist()))
        _check_classes(classes, int(labeled.sum()), len(label))
        known = np.isin(label, classes)
        test = in_test & labeled & known
        if not test.any():
            raise UserError(
                f"no video of the split 'test' has a label that training videos have ({len(classes)} classes, "
                f"{int(in_test.sum())} test videos): recognition could not be tested; prepare with a split column or a "
                "larger prepare.test_fraction"
            )
        left_out = {
            "train_unlabeled": int((in_train & ~labeled).sum()),
            "test_unlabeled": int((in_test & ~labeled).sum()),
            "test_unknown_class": int((in_test & labeled & ~known).sum()),
            "without_split": int((~in_train & ~in_test).sum()),
        }
        unknown = sorted(set(label[in_test & labeled & ~known].tolist()))
        return cls(classes, in_train & labeled, test, left_out, unknown)

    def numbers(self, labels: Sequence[str] | np.ndarray) -> np.ndarray:
        """Class indices of labels, int64; all labels must be known."""
        index = {name: n for n, name in enumerate(self.classes)}
        return np.array([index[label] for label in np.asarray(labels, dtype=str).tolist()], np.int64)

    def notes(self) -> list[str]:
        """Notes on the videos left out, one per line."""
        notes = []
        unlabeled = {"train": self.left_out["train_unlabeled"], "test": self.left_out["test_unlabeled"]}
        for split, used in (("train", self.train), ("test", self.test)):
            if unlabeled[split]:
                notes.append(f"{unlabeled[split]} {split} videos without a label are left out; {used.sum()} are used")
        if self.unknown:
            notes.append(
                f"{self.left_out['test_unknown_class']} test videos are left out: no training video has their class "
                f"({_some(self.unknown)})"
            )
        if self.left_out["without_split"]:
            notes.append(f"{self.left_out['without_split']} of {len(self.train)} videos are in neither split: left out")
        return notes


def _check_classes(classes: list[str], labeled: int, videos: int) -> None:
    if not labeled:
        raise UserError(f"none of the {videos} videos has a label, so there is nothing to learn: {NO_LABELS}")
    if not classes:
        raise UserError(
            f"{labeled} of {videos} videos have a label, but none of the split 'train', so there is nothing to learn; "
            "prepare with a split column or a smaller prepare.test_fraction"
        )
    if len(classes) == 1:
        raise UserError(
            f"all labeled training videos have the class {classes[0]!r}: a classifier needs two or more; {NO_LABELS}"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
