"""Column names of lists: clear ones are accepted, ambiguous ones are refused by name."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.listed import touch
from vicc_ray.datasets import Inputs, VideoItem, list_videos
from vicc_ray.errors import UserError

CAFE = "Caf\u00e9"
DECOMPOSED = unicodedata.normalize("NFD", CAFE)


def listed(folder: Path, name: str, content: str) -> Inputs:
    """List the videos a/1.mp4 and b/2.mp4 with a manifest of this content."""
    videos = touch(folder / "videos", "a/1.mp4", "b/2.mp4")
    (folder / name).write_text(content)
    return list_videos(videos, folder / name)


def known(inputs: Inputs) -> list[tuple[str, str, str]]:
    return [(item.id, item.label, item.split) for item in inputs.items]


EXPECTED = [("a/1.mp4", "walk", "train"), ("b/2.mp4", "run", "test")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("own.csv", "path, label, split\na/1.mp4, walk, train\nb/2.mp4, run, test\n"),
        ("own.csv", " Path ,LABEL,Split \na/1.mp4,walk,Train\nb/2.mp4,run,TEST\n"),
        ("own.csv", "path;label;split\na/1.mp4;walk;training\nb/2.mp4;run;testing\n"),
        ("own.csv", "sep=;\r\npath;label;split\r\na/1.mp4;walk;train\r\nb/2.mp4;run;test\r\n"),
        ("own.tsv", "path\tlabel\tsplit\na/1.mp4\twalk\ttrain\nb/2.mp4\trun\ttest\n"),
        ("own.tsv", 'path\tlabel\tsource\tsplit\n"a/1.mp4"\t"walk" \t\t"train"\n "b/2.mp4"\t"run"\t\t"test"\n'),
        ("own.csv", "\ufeffpath|label|split\na/1.mp4|walk|train\nb/2.mp4|run|test\n"),
        ("own.csv", '"path", "label" ,"split",\n"a/1.mp4" , "walk" ," train" ,\nb/2.mp4,run,test\n'),
        ("own.csv", "path,label,split,_class\na\\1.mp4,walk,train,x\nb\\2.mp4,run,test,y\n"),
        ("own.jsonl", '{"Path": "a/1.mp4", " label": "walk", "SPLIT": "Train"}\n'
                      '{"Path": "b/2.mp4", " label": "run", "SPLIT": " test "}\n'),
    ],
)  # fmt: skip
def test_spaces_case_and_delimiters_do_not_matter(tmp_path: Path, name: str, content: str) -> None:
    assert known(listed(tmp_path, name, content)) == EXPECTED


def test_missing_cells_at_the_end_of_a_line_are_empty(tmp_path: Path) -> None:
    inputs = listed(tmp_path, "own.csv", "path,label,split\na/1.mp4,walk\nb/2.mp4\nc/3.mp4,run,test,\n")
    assert known(inputs) == [("a/1.mp4", "walk", ""), ("b/2.mp4", "", ""), ("c/3.mp4", "run", "test")]


def test_the_content_of_a_cell_is_kept(tmp_path: Path) -> None:
    cells = ('"a "" , b"', ' a" ', '"a;\t| b"\t', ' "a "" \n """ ')
    rows = "".join(f"{n}.mp4,{cell},train\n" for n, cell in enumerate(cells))
    inputs = listed(tmp_path, "own.csv", f"path,label,split\n{rows}")
    assert [item.label for item in inputs.items] == ['a " , b', 'a"', "a;\t| b", 'a " \n "']


def test_parquet_columns_are_matched_by_the_same_names(tmp_path: Path) -> None:
    videos = touch(tmp_path / "videos", "a/1.mp4", "b/2.mp4")
    table = {" Path": ["a/1.mp4", "b/2.mp4"], "Label ": ["walk", "run"], "SPLIT": ["TRAIN", "test"], "bytes": [1, 2]}
    pq.write_table(pa.table(table), tmp_path / "own.parquet")
    assert known(list_videos(videos, tmp_path / "own.parquet")) == EXPECTED
    pq.write_table(
        pa.Table.from_arrays([pa.array(["a/1.mp4"])] * 3, ["path", "label", "label"]), tmp_path / "own.parquet"
    )
    with pytest.raises(UserError, match="2 columns .*label"):
        list_videos(videos, tmp_path / "own.parquet")


@pytest.mark.parametrize("known_name", ["label", "source", "split", "path"])
def test_a_column_that_resembles_a_missing_one_is_refused_with_two_remedies(tmp_path: Path, known_name: str) -> None:
    resembling = {
        "label": "class Class_Name lable labels category target className gt_label lable_text category_id y",
        "source": "group Group_ID sorce source_id original YouTube_ID",
        "split": "subset set fold Spilt splits split1 data_split dataSubset is_train train_test",
        "path": "file filename File_Name video paths video_path name",
    }[known_name]
    others = [name for name in ("path", "label", "source", "split") if name != known_name]
    for name in resembling.split():
        row = ",".join("a/1.mp4" if other == "path" else "train" for other in others)
        with pytest.raises(UserError) as error:
            listed(tmp_path, "own.csv", f"{','.join([*others, name])}\n{row},a/1.mp4\n")
        assert repr(name) in str(error.value)
        assert f"no column named {known_name}" in str(error.value)
        if known_name != "path":
            ignoring = f"{','.join(others)},_{name}\n{row},x\n"
            assert len(listed(tmp_path, "own.csv", ignoring).items) == 1


HARMLESS = "original_width,parent_dir,set_size,usage_rights,train_acc,gt_boxes,num_classes,source_fps,original width,id"


@pytest.mark.parametrize("name", [*HARMLESS.split(","), "setSize"])
def test_a_synonym_among_other_words_does_not_match(tmp_path: Path, name: str) -> None:
    assert len(listed(tmp_path, "own.csv", f"path,{name}\na/1.mp4,7\n").items) == 1


def test_all_resembling_columns_are_named_in_one_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'class'.*'subset'"):
        listed(tmp_path, "own.csv", "path,class,subset\na/1.mp4,walk,train\n")


def test_a_resembling_column_is_ignored_if_the_right_one_exists(tmp_path: Path) -> None:
    inputs = listed(tmp_path, "own.csv", "path,Label,class,frames\na/1.mp4,walk,7,9\n")
    assert known(inputs) == [("a/1.mp4", "walk", "")]
    (note,) = inputs.notes
    assert all(word in note for word in ("path", "Label", "class", "frames", "split"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("own.csv", "path,label,label\na/1.mp4,x,y\n"),
        ("own.csv", "path,label, Label\na/1.mp4,x,y\n"),
        ("own.jsonl", '{"path": "a/1.mp4", "label": "x", "label": "y"}\n'),
        ("own.jsonl", '{"path": "a/1.mp4", "label": "x", "Label": "y"}\n'),
    ],
)
def test_a_repeated_column_is_refused(tmp_path: Path, name: str, content: str) -> None:
    with pytest.raises(UserError, match="label"):
        listed(tmp_path, name, content)


@pytest.mark.parametrize(
    ("content", "number"),
    [
        ("path,label\na/1.mp4,walk\na, b.mp4,walk\n", 3),  # a comma in a name, without quotes
        ("path,label,split\na/1.mp4,walk,val\n", 2),
        ("path,label,split\na/1.mp4,walk,0\n", 2),
        ("path,label\ns3://bucket/a/1.mp4,walk\n", 2),
        ('path,label\na/1.mp4,"walk\nb/2.mp4,run\n', 3),  # a quote that never closes
        ('path,label,split\na/1.mp4,"walk\nb/2.mp4,run"\n', 3),  # one that closes in another line
    ],
)
def test_an_invalid_line_is_refused_by_its_number(tmp_path: Path, content: str, number: int) -> None:
    with pytest.raises(UserError, match=rf"line {number}\b"):
        listed(tmp_path, "own.csv", content)


def test_kinetics_columns_are_matched_in_the_same_way(tmp_path: Path) -> None:
    videos = touch(tmp_path / "videos", "a/xxxxxxxxxxx_000001_000011.mp4")
    lists = tmp_path / "k_train.csv"
    lists.write_text("Label; YouTube_ID ;time_start;time_end\na;xxxxxxxxxxx;1;11\n")
    assert known(list_videos(videos, lists)) == [("a/xxxxxxxxxxx_000001_000011.mp4", "a", "train")]
    lists.write_text("class,youtube_id,time_start,time_end\na,xxxxxxxxxxx,1,11\n")
    with pytest.raises(UserError, match="label.*'class'"):
        list_videos(videos, lists)


@pytest.mark.parametrize("odd", ["a?b", "a#b", "a%20b", "?x=1"])
def test_a_local_path_is_not_parsed_as_an_address(tmp_path: Path, odd: str) -> None:
    videos = touch(tmp_path / odd, f"{odd}/xxxxxxxxxxx_000001_000011.mp4")
    labels = tmp_path / f"{odd}.csv"
    labels.write_text(f"path,label\n{odd}/xxxxxxxxxxx_000001_000011.mp4,walk\n")
    (item,) = list_videos(str(videos), str(labels)).items
    assert (item.label, item.location) == ("walk", videos / odd / "xxxxxxxxxxx_000001_000011.mp4")
    lists = tmp_path / f"{odd}_val.csv"
    lists.write_text("label,youtube_id,time_start,time_end\nwalk,xxxxxxxxxxx,1,11\n")
    assert [(item.label, item.split) for item in list_videos(videos, lists).items] == [("walk", "test")]


def test_an_absolute_path_below_the_videos_folder_is_accepted(tmp_path: Path) -> None:
    inputs = listed(tmp_path, "own.csv", f"path,label\n{tmp_path}/videos/a/1.mp4,walk\n")
    assert known(inputs) == [("a/1.mp4", "walk", "")]


def test_a_fold_without_effect_is_noted(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.mp4")
    assert any("prepare.split_fold" in note for note in list_videos(tmp_path, fold=2).notes)
    assert not list_videos(tmp_path).notes


@pytest.mark.parametrize(("written", "there"), [(CAFE, DECOMPOSED), (DECOMPOSED, CAFE)])
def test_a_manifest_matches_files_in_another_unicode_form(tmp_path: Path, written: str, there: str) -> None:
    videos = touch(tmp_path / "videos", f"{there}/{there}.mp4")
    (tmp_path / "own.csv").write_text(f"path\n{written}/{written}.mp4\n")
    inputs = list_videos(videos, tmp_path / "own.csv")
    location = videos / there / f"{there}.mp4"
    assert inputs.items == (VideoItem(location, f"{written}/{written}.mp4", CAFE, f"{written}/{written}.mp4", ""),)
    assert inputs.unlisted == 0


def test_files_that_differ_only_in_unicode_form_are_two_of_one_class(tmp_path: Path) -> None:
    videos = touch(tmp_path / "videos", f"{CAFE}/{CAFE}.mp4", f"{CAFE}/{DECOMPOSED}.mp4", f"{DECOMPOSED}/x.mp4")
    (tmp_path / "own.csv").write_text(f"path\n{CAFE}/{CAFE}.mp4\n{CAFE}/{DECOMPOSED}.mp4\n")
    for inputs, n in ((list_videos(videos, tmp_path / "own.csv"), 2), (list_videos(videos), 3)):
        assert len({item.location for item in inputs.items}) == n
        assert {item.label for item in inputs.items} == {CAFE}


def test_a_file_listed_under_two_names_is_refused(tmp_path: Path) -> None:
    videos = touch(tmp_path / "videos", f"{CAFE}.mp4")
    (tmp_path / "own.csv").write_text(f"path\n{CAFE}.mp4\n{DECOMPOSED}.mp4\n")
    with pytest.raises(UserError, match="own.csv"):
        list_videos(videos, tmp_path / "own.csv")


@pytest.mark.parametrize(("written", "there"), [(CAFE, DECOMPOSED), (DECOMPOSED, CAFE)])
def test_published_lists_match_files_in_another_unicode_form(tmp_path: Path, written: str, there: str) -> None:
    videos = touch(tmp_path / "videos", f"{there}/v_{there}_g01_c01.avi", f"{there}/v_{there}_g02_c01.avi")
    lists = touch(tmp_path / "lists", "classInd.txt")
    (lists / "trainlist01.txt").write_text(f"{written}/v_{written}_g01_c01.avi 1\n")
    (lists / "testlist01.txt").write_text(f"{written}/v_{written}_g02_c01.avi\n")
    inputs = list_videos(videos, lists)
    assert {item.location for item in inputs.items} == {videos / there / f"v_{there}_g0{n}_c01.avi" for n in (1, 2)}
    assert {item.label for item in inputs.items} == {CAFE}
    lists = touch(tmp_path / "other", "readme.txt")
    name = f"Film_{there}_u_nm_np1_ba_goo_0.avi"
    touch(videos, f"{there}/{name}")
    (lists / f"{written}_test_split1.txt").write_text(f"{name} 1\n")
    (item,) = list_videos(videos, lists).items
    assert (item.label, item.source, item.location) == (CAFE, "Film", videos / there / name)


def test_unused_and_missing_files_are_noted(tmp_path: Path) -> None:
    touch(tmp_path, "Walk/1.mp4", "walk/2.mp4", "walk/3.mpfour", "metadata.csv")
    notes = list_videos(tmp_path).notes
    assert any("metadata.csv" in note for note in notes)
    assert any("'Walk' and 'walk'" in note for note in notes)
    assert any("1 .mpfour" in note for note in notes)
    (tmp_path / "other.csv").write_text("path\nvideos/Walk/1.mp4\n")
    assert any("videos/Walk/1.mp4" in note for note in list_videos(tmp_path, tmp_path / "other.csv").notes)


def test_the_default_manifest_may_be_capitalized(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.mp4")
    (tmp_path / "Labels.CSV").write_text("path,label\na/1.mp4,walk\n")
    assert [item.label for item in list_videos(tmp_path).items] == ["walk"]
