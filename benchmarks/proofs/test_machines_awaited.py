"""Waits for nodes of a cluster are reported; requests that no node can satisfy are refused."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fake_cluster import FakeCluster, fake_cluster
from tests.pipelines.prepared import CONFIG, films
from tests.pipelines.processes import DEADLINE_S, command
from tests.pipelines.runs import settings
from vicc_ray.config.loader import dump_config
from vicc_ray.pipelines.cluster.wait_for_nodes import SETTLE_TIMEOUT_S

TOLD_S = 60 + SETTLE_TIMEOUT_S


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return films(tmp_path_factory.mktemp("videos"), *(f"{n}.mp4" for n in range(6)), frames=12)


def refused(cluster: FakeCluster, *arguments: str) -> str:
    whole = [sys.executable, "-m", "vicc_ray", *arguments]
    begun = time.monotonic()
    done = subprocess.run(whole, env=cluster.environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 2, done.stderr
    assert time.monotonic() - begun < TOLD_S
    return done.stderr


def test_a_quiet_prepare_says_what_it_waits_for_and_begins_when_it_comes(videos: Path, tmp_path: Path) -> None:
    recipe, store = tmp_path / "recipe.yaml", tmp_path / "store"
    recipe.write_text(dump_config(CONFIG))
    with fake_cluster() as cluster:
        arguments = ("prepare", str(recipe), "--videos", str(videos), "--store", str(store), "-q")
        with command(*arguments, environment=cluster.environment) as process:
            line = ""
            while "waiting for CPUs" not in line:
                line = process.stderr.readline()
                assert line, "it has ended"
            cluster.add("first", 1)
            assert process.wait(timeout=DEADLINE_S) == 0
        recipe.write_text(dump_config(settings(train={"cpus_per_worker": 4})))
        told = refused(cluster, "pretrain", str(recipe), "--store", str(store), "--run", str(tmp_path / "run"))
        assert "train.cpus_per_worker" in told and "has 1" in told
