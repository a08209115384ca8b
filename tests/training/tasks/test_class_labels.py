"""Which videos are learnt from and tested on, and every way in which labels can fall short."""

from __future__ import annotations

import pytest

from vicc_ray.errors import UserError
from vicc_ray.training.tasks.class_labels import ClassLabels


def test_classes_are_the_sorted_labels_of_the_training_videos() -> None:
    labelling = ClassLabels.of(["walk", "run", "run", "walk", "run"], ["train", "train", "test", "test", ""])
    assert labelling.classes == ["run", "walk"]
    assert labelling.train.tolist() == [True, True, False, False, False]
    assert labelling.test.tolist() == [False, False, True, True, False]
    assert labelling.numbers(["walk", "run"]).tolist() == [1, 0]
    assert labelling.notes() == ["1 of 5 videos are in neither split: left out"]


def test_videos_without_a_label_are_left_out_and_counted() -> None:
    labelling = ClassLabels.of(["a", "", "b", "", "a", "b", ""], ["train"] * 4 + ["test"] * 3)
    assert (labelling.train.sum(), labelling.test.sum()) == (2, 2)
    assert labelling.left_out == {
        **{"train_unlabeled": 2, "test_unlabeled": 1},
        **{"test_unknown_class": 0, "without_split": 0},
    }
    assert labelling.notes() == [
        "2 train videos without a label are left out; 2 are used",
        "1 test videos without a label are left out; 2 are used",
    ]


def test_classes_that_only_test_videos_have_are_left_out_by_name() -> None:
    labelling = ClassLabels.of(["a", "b", "a", "c", "d", "e", "f"], ["train"] * 2 + ["test"] * 5)
    assert labelling.classes == ["a", "b"]
    assert labelling.test.sum() == 1
    assert labelling.notes() == [
        "4 test videos are left out: no training video has their class (c, d, e and 1 more)",
    ]


@pytest.mark.parametrize(
    ("labels", "splits", "message"),
    [
        (["", ""], ["train", "test"], "none of the 2 videos has a label"),
        (["", "a"], ["train", "test"], "1 of 2 videos have a label, but none of the split 'train'"),
        (["a", "a"], ["train", "test"], "all labeled training videos have the class 'a': a classifier needs two"),
        (["a", "b", "c"], ["train", "train", "test"], r"no video of the split 'test' has a label that training"),
        (["a", "b"], ["train", "train"], r"\(2 classes, 0 test videos\)"),
    ],
)
def test_labels_that_do_not_do_are_told(labels: list[str], splits: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ClassLabels.of(labels, splits)
