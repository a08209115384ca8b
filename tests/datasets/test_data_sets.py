"""Published lists of UCF101, HMDB51 and Kinetics, applied to folders in various layouts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.listed import touch, write_lists
from vicc_ray.datasets import Inputs, list_videos
from vicc_ray.datasets.hmdb51 import film
from vicc_ray.errors import UserError

UCF_LISTS = {
    "classInd.txt": "1 ApplyEyeMakeup\n37 HandstandPushups\n",
    "trainlist01.txt": "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\r\n"
    "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c02.avi 1\r\n",
    "testlist01.txt": "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi\nHandstandPushups/v_HandStandPushups_g01_c01.avi\n",
    "trainlist02.txt": "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi 1\n",
    "testlist02.txt": "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi\n",
}
UCF_VIDEOS = (
    "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi",
    "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi",
    "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c02.avi",
    "HandstandPushups/v_HandStandPushups_g01_c01.avi",
)
HMDB_LISTS = {
    "brush_hair_test_split1.txt": "April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1 \n"
    "April_09_brush_hair_u_nm_np1_ba_goo_1.avi 0 \n",
    "pick_test_split1.txt": "#122_Cleaning_Up_pick_f_nm_np1_fr_med_1.avi 2 \n",
    "brush_hair_test_split3.txt": "April_09_brush_hair_u_nm_np1_ba_goo_1.avi 2 \n",
    "pick_test_split3.txt": "#122_Cleaning_Up_pick_f_nm_np1_fr_med_1.avi 0 \n",
}
HMDB_VIDEOS = (
    "brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi",
    "brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_1.avi",
    "pick/#122_Cleaning_Up_pick_f_nm_np1_fr_med_1.avi",
)
KINETICS_LISTS = {
    "train.csv": "label,youtube_id,time_start,time_end,split,is_cc\n"
    "testifying,---QUuC4vJs,84,94,train,0\n"
    '"petting animal (not cat)",--3ouPhoy2A,20,30,train,0\n'
    "testifying,-gone_-id00,7,17,train,1\n",
    "validate.csv": "label,youtube_id,time_start,time_end,split\ntestifying,--6bJUbfpnQ,17,27,validate\n",
    "test.csv": "youtube_id,time_start,time_end,split\n0-BSG2Ueo5k,1,11,test\n",
    "readme.md": "",
}
KINETICS_FOUND = {
    "testifying/---QUuC4vJs_000084_000094.mp4": ("testifying", "---QUuC4vJs", "train"),
    "petting animal (not cat)/--3ouPhoy2A_000020_000030.mp4": ("petting animal (not cat)", "--3ouPhoy2A", "train"),
    "testifying/-gone_-id00_000007_000017.mp4": ("testifying", "-gone_-id00", "train"),
    "testifying/--6bJUbfpnQ_000017_000027.mp4": ("testifying", "--6bJUbfpnQ", "test"),
    "0-BSG2Ueo5k_000001_000011.mp4": ("", "0-BSG2Ueo5k", ""),
}


def known(inputs: Inputs) -> dict[str, tuple[str, str, str]]:
    return {item.id: (item.label, item.source, item.split) for item in inputs.items}


def locations(inputs: Inputs, videos: Path) -> list[str]:
    return [str(item.location.relative_to(videos)) for item in inputs.items if isinstance(item.location, Path)]


def test_ucf101_gives_label_group_and_split_of_the_fold(tmp_path: Path) -> None:
    videos = touch(tmp_path / "UCF-101", *UCF_VIDEOS)
    lists = write_lists(tmp_path / "ucfTrainTestlist", UCF_LISTS)
    first = list_videos(videos, lists)
    assert known(first) == {
        UCF_VIDEOS[0]: ("ApplyEyeMakeup", "ApplyEyeMakeup_g01", "test"),
        UCF_VIDEOS[1]: ("ApplyEyeMakeup", "ApplyEyeMakeup_g08", "train"),
        UCF_VIDEOS[2]: ("ApplyEyeMakeup", "ApplyEyeMakeup_g08", "train"),
        UCF_VIDEOS[3]: ("HandstandPushups", "HandstandPushups_g01", "test"),
    }
    assert first.unlisted == 0
    second = list_videos(videos, lists, fold=2)
    assert {id: split for id, (_, _, split) in known(second).items()} == {UCF_VIDEOS[0]: "train", UCF_VIDEOS[1]: "test"}
    assert second.unlisted == 2
    with pytest.raises(UserError, match=r"trainlist03.txt.*testlist03.txt.*prepare\."):
        list_videos(videos, lists, fold=3)


@pytest.mark.parametrize(
    "layout",
    [
        lambda label, name: f"{label}/{name}.avi",
        lambda label, name: f"{name}.avi",
        lambda label, name: f"UCF-101/{label}/{name}.avi",
        lambda label, name: f"some/where/{label.lower()}/{name.lower()}.mp4",
    ],
)
def test_ucf101_keeps_its_ids_in_every_layout(tmp_path: Path, layout: object) -> None:
    assert callable(layout)
    names = [layout(*id.removesuffix(".avi").split("/")) for id in UCF_VIDEOS]
    videos = touch(tmp_path / "videos", *names, "Other/v_ApplyEyeMakeup_g09_c09.avi")
    inputs = list_videos(videos, write_lists(tmp_path / "lists", UCF_LISTS))
    assert [item.id for item in inputs.items] == list(UCF_VIDEOS)
    assert locations(inputs, videos) == names
    assert inputs.unlisted == 1


def test_a_video_in_the_folder_of_another_class_does_not_match(tmp_path: Path) -> None:
    videos = touch(tmp_path / "videos", "HandstandPushups/v_ApplyEyeMakeup_g01_c01.avi")
    inputs = list_videos(videos, write_lists(tmp_path / "lists", UCF_LISTS))
    assert locations(inputs, videos) == list(UCF_VIDEOS)  # where they would lie
    assert inputs.unlisted == 1


@pytest.mark.parametrize("inside", ["", "hmdb51_org/"])
def test_hmdb51_gives_label_film_and_split_of_the_fold(tmp_path: Path, inside: str) -> None:
    videos = touch(tmp_path / "videos", *(inside + name for name in HMDB_VIDEOS), inside + "pick/other.avi")
    lists = write_lists(tmp_path / "testTrainMulti_7030_splits", HMDB_LISTS)
    first = list_videos(videos, lists)
    assert known(first) == {
        HMDB_VIDEOS[0]: ("brush_hair", "April_09", "train"),
        HMDB_VIDEOS[1]: ("brush_hair", "April_09", ""),
        HMDB_VIDEOS[2]: ("pick", "#122_Cleaning_Up", "test"),
    }
    assert sorted(locations(first, videos)) == sorted(inside + name for name in HMDB_VIDEOS)
    assert first.unlisted == 1
    assert known(list_videos(videos, lists, fold=3))[HMDB_VIDEOS[1]] == ("brush_hair", "April_09", "test")
    (lists / "pick_test_split3.txt").unlink()
    with pytest.raises(UserError, match=r"pick_test_split3.txt.*prepare\."):
        list_videos(videos, lists, fold=3)


@pytest.mark.parametrize(
    ("name", "label", "source"),
    [
        ("Dirt_ride_bike_race_ride_bike_f_cm_np1_ri_med_0.avi", "ride_bike", "Dirt_ride_bike_race"),
        ("Title_smile_h_cm_np1_fr_goo_2.avi", "laugh", "Title_smile"),  # a class that is not in the name
        ("anything.avi", "laugh", ""),
    ],
)
def test_the_film_is_the_part_of_the_name_before_the_class(name: str, label: str, source: str) -> None:
    assert film(name, label) == source


@pytest.mark.parametrize(
    "layout",
    [
        lambda id, split: id,
        lambda id, split: f"{split}/{id.replace(' ', '_')}",
        lambda id, split: f"{split}/{id.rpartition('/')[2]}",
        lambda id, split: id.replace(".mp4", ".mkv"),
        lambda id, split: f"k400/{id}".replace(".mp4", ".WEBM"),
    ],
)
def test_kinetics_is_matched_in_every_layout_and_missing_videos_stay_inputs(tmp_path: Path, layout: object) -> None:
    assert callable(layout)
    there = {id: layout(id, split or "other") for id, (_, _, split) in KINETICS_FOUND.items() if "gone" not in id}
    videos = touch(tmp_path / "videos", *there.values())
    inputs = list_videos(videos, write_lists(tmp_path / "lists", KINETICS_LISTS))
    assert known(inputs) == KINETICS_FOUND
    assert locations(inputs, videos) == [there.get(item.id, item.id) for item in inputs.items]
    assert inputs.unlisted == 0


def test_one_kinetics_csv_and_splits_from_file_names(tmp_path: Path) -> None:
    videos = touch(tmp_path / "videos", "a/xxxxxxxxxxx_000001_000011.mp4", "a/yyyyyyyyyyy_000002_000012.mp4")
    header = "label,youtube_id,time_start,time_end\n"
    lists = write_lists(
        tmp_path / "lists",
        {
            "kinetics-400_train.csv": f"{header}a,xxxxxxxxxxx,1,11\na,xxxxxxxxxxx,1,11\n",
            "kinetics-400_val.csv": f"{header}a,yyyyyyyyyyy,2.0,12.0\n",
        },
    )
    assert [item.split for item in list_videos(videos, lists).items] == ["train", "test"]
    alone = list_videos(videos, lists / "kinetics-400_val.csv")
    assert known(alone) == {"a/yyyyyyyyyyy_000002_000012.mp4": ("a", "yyyyyyyyyyy", "test")}
    assert alone.unlisted == 1


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({**UCF_LISTS, "testlist01.txt": "v_x.avi\n"}, r"testlist01.txt line 1: 'v_x.avi'"),
        (
            {**UCF_LISTS, "testlist01.txt": UCF_LISTS["trainlist01.txt"]},
            r"ApplyEyeMakeup/.*'test' and 'train'",
        ),
        (
            {"pick_test_split1.txt": "x.avi 3\n"},
            "pick_test_split1.txt line 1: 'x.avi 3'",
        ),
        ({"train.csv": "label,youtube_id\n"}, "train.csv: no column named time_start"),
        (
            {"train.csv": "label,youtube_id,time_start,time_end,split\na,b,1,2,dev\n"},
            "line 2: split 'dev'.*train, val",
        ),
        (
            {"train.csv": "label,youtube_id,time_start,time_end\na,b,1:00,2\n"},
            "line 2: .*'1:00' and '2'.*seconds",
        ),
    ],
)
def test_invalid_lines_are_named(tmp_path: Path, lists: dict[str, str], message: str) -> None:
    videos = touch(tmp_path / "videos", *UCF_VIDEOS)
    with pytest.raises(UserError, match=message):
        list_videos(videos, write_lists(tmp_path / "lists", lists))
