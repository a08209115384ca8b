"""The doctor on this machine, and on a cluster of fake machines of which one has another home folder."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fake_cluster import FakeCluster, fake_cluster
from vicc_ray.cli import main


def _lines(output: str) -> dict[str, str]:
    """What was checked -> its mark and finding."""
    found = re.findall(r"^(ok|warn|FAIL) +(\w+) +(.*)$", output, re.MULTILINE)
    return {what: f"{mark}: {told}" for mark, what, told in found}


def test_this_machine_is_fit(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "demo", "--set", "train.batch=8", "--store", str(store), "--out", str(tmp_path)]) == 0
    lines = _lines(capsys.readouterr().out)
    assert set(lines) == {
        "machines", "versions", "token", "GPUs", "memory", "disk", "clocks", "recipe", "folder", "store",
    }  # fmt: skip
    assert lines["store"].startswith("ok") and lines["folder"].startswith("ok") and lines["token"] == "ok: on"
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_would_miss_is_told_beforehand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["doctor", "ucf101-s3d", "--store", str(tmp_path), "--set", "train.batch=4096"])
    assert end.value.code == 1
    lines = _lines(capsys.readouterr().out)
    assert lines["recipe"].startswith("FAIL: ray.object_store_mb: too small")
    assert lines["store"].startswith("FAIL") and "folder" not in lines


def test_the_address_of_the_job_server_is_refused_with_the_way_that_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--address", "http://127.0.0.1:8265"]) == 2
    assert "give auto, or HOST:PORT" in capsys.readouterr().err


def test_the_machine_with_another_folder_and_the_one_that_cannot_write_are_named(tmp_path: Path) -> None:
    homes = {name: tmp_path / name for name in ("common", "other", "blocked")}
    for home in homes.values():
        home.mkdir()
    (homes["blocked"] / "shared").touch()  # a file where the folder should be
    with fake_cluster(home=homes["common"]) as cluster:
        for name in ("common", "other", "blocked"):
            cluster.add(name, 1, home=homes[name])
        lines = _doctor(cluster)
    assert lines["machines"].startswith("ok: 4:") and lines["token"].startswith("FAIL: off on")
    assert re.match(r"FAIL: ~/shared cannot be written by [^ ,]+ \(Not a directory \(.+?\)\); ", lines["folder"])
    blind = dict(re.findall(r"(\S+) \(does not see what ([^)]+) wrote\)", lines["folder"]))
    (other,) = [machine for machine, missed in blind.items() if ", " in missed]
    assert len(blind) == 3
    assert all(missed == other for machine, missed in blind.items() if machine != other)


def _doctor(cluster: FakeCluster) -> dict[str, str]:
    command = [sys.executable, "-m", "vicc_ray", "doctor", "--address", cluster.address, "--out", "~/shared"]
    done = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    return _lines(done.stdout)
