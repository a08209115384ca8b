from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from vicc_ray.errors import UserError
from vicc_ray.video.sources import VideoItem, assign_splits, list_videos, unlisted


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def item(id: str, label: str = "a", source: str = "", split: str = "") -> VideoItem:
    return VideoItem(Path(id), id, label, source or id, split)


def test_a_folder_a_class(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.MP4", "b/1.avi", "a/deep/x.webm", "top.mkv", "a/notes.txt", "a/.hidden.mp4", ".git/y.mp4")
    items = list_videos(tmp_path)
    assert [(i.id, i.label) for i in items] == [
        ("a/deep/x.webm", "a"),
        ("b/1.avi", "b"),
        ("b/2.MP4", "b"),
        ("top.mkv", ""),
    ]
    assert all(i.source == i.id and i.split == "" and i.path == tmp_path / i.id for i in items)


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    touch(tmp_path, "real/class/x.mp4")
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "linked").symlink_to(tmp_path / "real" / "class")
    (videos / "circle").symlink_to(videos)
    assert [i.id for i in list_videos(videos)] == ["linked/x.mp4"]


def test_a_name_that_is_no_utf8_gets_a_printable_id(tmp_path: Path) -> None:
    path = Path(str(tmp_path / "a"), "caf\udce9.mp4")
    touch(path.parent, path.name)
    (found,) = list_videos(tmp_path)
    assert found.id.encode() == rb"a/caf\udce9.mp4"
    assert found.path.read_bytes() == b"x"


def test_a_labels_file_is_the_list(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.mp4", "a/2.mp4", "b/3.mp4")
    labels = tmp_path / "elsewhere.csv"
    labels.write_text(
        "\ufeffsource,path,label,split\ns1,a/2.mp4,run,test\n,a/1.mp4,walk,train\ns1,gone.mp4,,\n", "utf-8"
    )
    items = list_videos(tmp_path, labels)
    assert items == [
        VideoItem(tmp_path / "a/1.mp4", "a/1.mp4", "walk", "a/1.mp4", "train"),
        VideoItem(tmp_path / "a/2.mp4", "a/2.mp4", "run", "s1", "test"),
        VideoItem(tmp_path / "gone.mp4", "gone.mp4", "", "s1", ""),
    ]
    assert unlisted(tmp_path, items) == 1
    labels.rename(tmp_path / "labels.csv")
    assert list_videos(tmp_path) == items


def test_without_a_label_column_the_folder_is_the_label(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path\nrun/1.mp4\n2.mp4\n")
    assert [i.label for i in list_videos(tmp_path)] == ["", "run"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,label\nx.mp4,a\n", "no column named path"),
        ("", "no column named path"),
        ("path\n", "names no video"),
        ("path\nx.mp4\nx.mp4\n", "more than once"),
        ("path\n/etc/x.mp4\n", "line 2.*below the videos folder"),
        ("path\n../x.mp4\n", "below the videos folder"),
        ("path\ny.mp4\n  \n", "line 3"),
        ("path,split\nx.mp4,validation\n", "split 'validation'; allowed are train, test"),
        ("path\nx\xe9.mp4\n", "cannot be read"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "labels.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=message):
        list_videos(tmp_path)


def test_nothing_to_list(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing there"):
        list_videos(tmp_path / "none")
    with pytest.raises(UserError, match=r"no videos in .*\.mp4"):
        list_videos(tmp_path)
    touch(tmp_path, "file")
    with pytest.raises(UserError, match="that is a file"):
        list_videos(tmp_path / "file")
    with pytest.raises(UserError, match=r"none\.csv cannot be read"):
        list_videos(tmp_path, tmp_path / "none.csv")


def held_out(items: list[VideoItem]) -> Counter[str]:
    return Counter(i.label for i in items if i.split == "test")


@pytest.mark.parametrize("seed", range(5))
def test_each_label_is_held_out_by_its_share(seed: int) -> None:
    items = [item(f"{label}{n}", label) for label, count in (("a", 40), ("b", 12), ("c", 4)) for n in range(count)]
    split = assign_splits(items, 0.25, seed)
    assert held_out(split) == {"a": 10, "b": 3, "c": 1}
    assert [i.id for i in split] == [i.id for i in items]
    assert split == assign_splits(items, 0.25, seed)
    assert [i.split for i in split] != [i.split for i in assign_splits(items, 0.25, seed + 5)]


@pytest.mark.parametrize("seed", range(5))
def test_sources_stay_whole(seed: int) -> None:
    items = [item(f"{n}", "ab"[n % 2], source=f"s{n // 6}") for n in range(120)]
    split = assign_splits(items, 0.3, seed)
    sides = {source: {i.split for i in split if i.source == source} for source in {i.source for i in split}}
    assert all(len(side) == 1 for side in sides.values())
    assert held_out(split) == {"a": 18, "b": 18}


def test_few_videos_of_many_labels_are_still_held_out() -> None:
    items = [item(f"{label}/{n}", str(label)) for label in range(20) for n in range(2)]
    assert sum(held_out(assign_splits(items, 0.25, 0)).values()) == 10


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (1.0, 10)])
def test_none_and_all_can_be_held_out(share: float, count: int) -> None:
    assert held_out(assign_splits([item(str(n)) for n in range(10)], share, 0))["a"] == count


def test_new_videos_move_no_old_ones() -> None:
    old = assign_splits([item(f"{n:03d}") for n in range(40)], 0.25, 0)
    new = [item(f"x{n:03d}") for n in range(40)] + [
        item("sibling", source=next(i.id for i in old if i.split == "test"))
    ]
    split = assign_splits([*old, *new], 0.25, 0)
    assert split[:40] == old
    assert held_out(split)["a"] in (20, 21)
    assert split[-1].split == "test"
