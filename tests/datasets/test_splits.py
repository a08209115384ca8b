from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from vicc_ray.datasets import VideoItem, assign_splits


def item(id: str, label: str = "a", source: str = "", split: str = "") -> VideoItem:
    return VideoItem(Path(id), id, label, source or id, split)


def held_out(items: list[VideoItem]) -> Counter[str]:
    return Counter(i.label for i in items if i.split == "test")


@pytest.mark.parametrize("seed", range(5))
def test_the_test_fraction_holds_for_each_label(seed: int) -> None:
    items = [item(f"{label}{n}", label) for label, count in (("a", 40), ("b", 12), ("c", 4)) for n in range(count)]
    split = assign_splits(items, 0.25, seed)
    assert held_out(split) == {"a": 10, "b": 3, "c": 1}
    assert [i.id for i in split] == [i.id for i in items]
    assert split == assign_splits(items, 0.25, seed)
    assert [i.split for i in split] != [i.split for i in assign_splits(items, 0.25, seed + 5)]


@pytest.mark.parametrize("seed", range(5))
def test_sources_are_not_split(seed: int) -> None:
    items = [item(f"{n}", "ab"[n % 2], source=f"s{n // 6}") for n in range(120)]
    split = assign_splits(items, 0.3, seed)
    sides = {source: {i.split for i in split if i.source == source} for source in {i.source for i in split}}
    assert all(len(side) == 1 for side in sides.values())
    assert held_out(split) == {"a": 18, "b": 18}


def test_some_of_few_videos_with_many_labels_are_held_out() -> None:
    items = [item(f"{label}/{n}", str(label)) for label in range(20) for n in range(2)]
    assert sum(held_out(assign_splits(items, 0.25, 0)).values()) == 10


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (1.0, 10)])
def test_none_and_all_can_be_held_out(share: float, count: int) -> None:
    assert held_out(assign_splits([item(str(n)) for n in range(10)], share, 0))["a"] == count


def test_new_videos_keep_the_split_of_old_ones() -> None:
    old = assign_splits([item(f"{n:03d}") for n in range(40)], 0.25, 0)
    new = [item(f"x{n:03d}") for n in range(40)] + [
        item("sibling", source=next(i.id for i in old if i.split == "test"))
    ]
    split = assign_splits([*old, *new], 0.25, 0)
    assert split[:40] == old
    assert held_out(split)["a"] in (20, 21)
    assert split[-1].split == "test"


@pytest.mark.parametrize("seed", range(3))
def test_videos_without_a_label_are_for_training(seed: int) -> None:
    nothing = assign_splits([item(str(n), label="") for n in range(40)], 0.25, seed)
    assert {i.split for i in nothing} == {"train"}
    some = [item(f"{label}{n}", label) for label in ("", "a") for n in range(40)]
    assert held_out(assign_splits(some, 0.25, seed)) == {"a": 10}
