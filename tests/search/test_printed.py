"""Output of ``vicc-ray search`` for untrusted names of videos and classes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.search.made import index_here
from vicc_ray.cli.main import main

HOSTILE = "up\x1b[2J\nerror: forged\u202e\rgpj"
CLASSES = ("left", "日本語", HOSTILE)


@pytest.fixture(scope="module")
def named(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Index of three classes with one video each."""
    folder = tmp_path_factory.mktemp("named")
    for label, file in zip(CLASSES, ("a/left.mp4", "a/right.mp4", "b/up.mp4"), strict=True):
        (folder / label).mkdir()
        shutil.copy(videos / file, folder / label / f"{label}.mp4")
    return index_here(folder, tmp_path_factory.mktemp("named-index"))


def test_results_are_one_line_each_in_columns(named: Path, videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(named), str(videos / "b/up.mp4"), "--top-k", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()[:3]
    shown = r"up\x1b[2J\nerror: forged\u202e\rgpj"
    assert {line.rpartition("  ")[2] for line in lines} == {f"{name}/{name}.mp4" for name in ("left", "日本語", shown)}
    assert len({cell_len(line.rpartition("  ")[0]) for line in lines}) == 1, "ids begin in one column"
    assert all(line.isprintable() for line in lines)


def test_ordinary_names_are_printed_unchanged(named: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that programs can read the lines."""
    assert main(["search", str(named), "left/left.mp4", "--top-k", "1"]) == 0
    rank, score, place, *_ = capsys.readouterr().out.split()
    assert rank == "1" and -1 <= float(score) <= 1 and "-" in place
    assert main(["search", str(named), "日本語/日本語.mp4", "--top-k", "2"]) == 0
    assert "left  " in capsys.readouterr().out


def test_the_error_for_an_unknown_id_is_one_line(named: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(named), HOSTILE]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: up") and line.isprintable()


def test_a_video_is_found_by_its_original_name(named: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(named), f"{HOSTILE}/{HOSTILE}.mp4", "--top-k", "1"]) == 0
    assert capsys.readouterr().err == ""
