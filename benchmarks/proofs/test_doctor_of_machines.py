"""Doctor on a cluster of fake nodes: one has a different home folder, one cannot write to its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.fake_cluster import FakeCluster, fake_cluster
from tests.pipelines.test_doctor import lines_of


def test_doctor_names_the_node_with_another_folder_and_the_one_that_cannot_write(tmp_path: Path) -> None:
    homes = {name: tmp_path / name for name in ("common", "other", "blocked")}
    for home in homes.values():
        home.mkdir()
    (homes["blocked"] / "shared").touch()  # a file where the folder should be
    with fake_cluster(home=homes["common"]) as cluster:
        for name in ("common", "other", "blocked"):
            cluster.add(name, 1, home=homes[name])
        lines = _doctor(cluster)
    assert lines["machines"].startswith("ok: 4:") and lines["token"].startswith("FAIL: off on")
    machines = lines["machines"].rpartition(": ")[2].split(", ")
    findings = _findings(lines["folder"], machines)
    assert lines["folder"].startswith("FAIL") and "~/shared" in lines["folder"]
    assert set(findings) == set(machines)
    (blocked,) = [machine for machine, finding in findings.items() if "Not a directory" in finding]
    unseen = {
        machine: {name for name in machines if name in finding}
        for machine, finding in findings.items()
        if machine != blocked
    }
    (other,) = [machine for machine, missing in unseen.items() if len(missing) == 2]
    assert all(missing == {other} for machine, missing in unseen.items() if machine != other)


def _findings(line: str, machines: list[str]) -> dict[str, str]:
    """Machine -> the finding in parentheses after its name."""
    name = "|".join(map(re.escape, machines))
    parts = re.split(rf"({name}) \(", line)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


UNEXPANDED = """
import sys
from vicc_ray.cli import doctor
doctor.output_path = str
from vicc_ray.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
"""The command without expansion of ``~`` on the client, so that the path differs between nodes."""


def _doctor(cluster: FakeCluster) -> dict[str, str]:
    command = [sys.executable, "-c", UNEXPANDED, "doctor", "--address", cluster.address, "--out", "~/shared"]
    done = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    return lines_of(done.stdout)
