"""Probes of several machines in one folder, or in what they take for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from vicc_ray.doctor.shared_fs_probe import SharedFsProbe


def test_nodes_with_a_shared_folder_see_each_other_and_leave_no_files(tmp_path: Path) -> None:
    folder = tmp_path / "not-there-yet"
    probes = {name: SharedFsProbe(str(folder), "look", name) for name in ("10.0.0.1", "10.0.0.2")}
    assert [probe.write() for probe in probes.values()] == ["", ""]
    assert [probe.missing(probes) for probe in probes.values()] == [[], []]
    for probe in probes.values():
        probe.remove()
    assert list(folder.iterdir()) == []


def test_nodes_with_separate_folders_miss_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probes = {}
    for name in ("first", "second"):
        monkeypatch.setenv("HOME", str(tmp_path / name))
        probes[name] = SharedFsProbe("~/shared", "look", name)
        assert probes[name].write() == ""
    assert probes["first"].missing(probes) == ["second"]
    assert probes["second"].missing(probes) == ["first"]


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    problem = SharedFsProbe(str(tmp_path / "file"), "look", "first").write()
    assert "Not a directory" in problem and str(tmp_path) in problem


def test_a_probe_ignores_the_files_of_earlier_probes(tmp_path: Path) -> None:
    assert SharedFsProbe(str(tmp_path), "earlier", "second").write() == ""
    assert SharedFsProbe(str(tmp_path), "now", "first").missing(["second"]) == ["second"]
