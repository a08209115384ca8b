"""Doctor on a cluster of fake nodes: one has another home folder, one cannot write."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.fake_cluster import FakeCluster, fake_cluster
from tests.pipelines.test_doctor import lines_of


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


UNEXPANDED = """
import sys
from vicc_ray.cli import doctor
doctor.output_path = str
from vicc_ray.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
"""The command without its care for ``~``, which is here a path that leads each machine somewhere else."""


def _doctor(cluster: FakeCluster) -> dict[str, str]:
    command = [sys.executable, "-c", UNEXPANDED, "doctor", "--address", cluster.address, "--out", "~/shared"]
    done = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    return lines_of(done.stdout)
