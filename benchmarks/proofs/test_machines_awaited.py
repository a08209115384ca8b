"""Waits for nodes of a cluster are reported; requests that no node can satisfy are refused."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fake_cluster import FakeCluster, fake_cluster
from tests.pipelines.prepared import CONFIG, write_videos
from tests.pipelines.processes import DEADLINE_S, command
from tests.pipelines.runs import settings
from vicc_ray.config.loader import dump_config
from vicc_ray.pipelines.cluster.wait_for_nodes import SETTLE_TIMEOUT_S

REFUSED_WITHIN_S = 60 + SETTLE_TIMEOUT_S


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_videos(tmp_path_factory.mktemp("videos"), *(f"{n}.mp4" for n in range(6)), frames=12)


def refused(cluster: FakeCluster, *arguments: str) -> str:
    """Error output of a command that must be refused."""
    whole = [sys.executable, "-m", "vicc_ray", *arguments]
    start = time.monotonic()
    done = subprocess.run(whole, env=cluster.environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 2, done.stderr
    assert time.monotonic() - start < REFUSED_WITHIN_S
    return done.stderr


def test_quiet_prepare_reports_its_wait_and_starts_when_a_node_joins(videos: Path, tmp_path: Path) -> None:
    recipe, store = tmp_path / "recipe.yaml", tmp_path / "store"
    recipe.write_text(dump_config(CONFIG))
    with fake_cluster() as cluster:
        arguments = ("prepare", str(recipe), "--videos", str(videos), "--store", str(store), "-q")
        with command(*arguments, environment=cluster.environment) as process:
            line = ""
            while "waiting for CPUs" not in line:
                line = process.stderr.readline()
                assert line, "the process has exited"
            cluster.add("first", 1)
            assert process.wait(timeout=DEADLINE_S) == 0
        recipe.write_text(dump_config(settings(train={"cpus_per_worker": 4})))
        message = refused(cluster, "pretrain", str(recipe), "--store", str(store), "--run", str(tmp_path / "run"))
        assert "train.cpus_per_worker" in message and "has 1" in message
