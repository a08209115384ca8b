"""Submitted jobs: a killed job can be resumed, and a job outlives its client."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.pipelines.job_server import Server, job_server, recipe, submit
from tests.pipelines.processes import DEADLINE_S, command, past, wait_until
from tests.pipelines.runs import losses, reference_losses
from vicc_ray.runs.run_dir import RunDir

pytest.importorskip("aiohttp", reason="the job server (ray[default]) is not pinned for this Python")


def test_killed_job_is_reported_and_resumed_and_outlives_its_client(
    store: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with job_server(tmp_path_factory) as server:
        _kill_and_resume(server, store, tmp_path)


def _kill_and_resume(server: Server, store: Path, tmp_path: Path) -> None:
    (config, file), run = recipe(tmp_path, epochs=60), RunDir(tmp_path / "run")
    arguments = (file, "--store", str(store), "--out", str(run.path))
    following = ("submit", *arguments, "--dashboard-address", server.address)
    with command(*following, environment=server.environment) as client:
        wait_until(past(run, 0), client)
        first = _job_in(client.stderr)
        again = submit(server, *arguments, "--no-wait")  # an identical submission attaches to the running job
        assert _job_in(again.stderr.splitlines()) == first
        (driver,) = server.drivers()
        driver.kill()
        assert client.wait(DEADLINE_S) == 2
        message = client.stderr.read()
        assert first in message and "failed" in message
    ended = submit(server, *arguments)
    assert ended.returncode == 2
    assert first in ended.stderr and "FAILED" in ended.stderr and "--resume" in ended.stderr
    with command(*following, "--resume", environment=server.environment) as client:
        second = _job_in(client.stderr)
        wait_until(past(run, run.step), client)
        client.kill()
    followed = submit(server, "--follow", second)
    assert followed.returncode == 0, followed.stderr
    assert "240/240" in followed.stdout
    assert losses(run.path) == [float(f"{loss:.9g}") for loss in reference_losses(config, store)]


def _job_in(lines: Iterable[str]) -> str:
    """Id of the submitted job."""
    return next(line.split()[1] for line in lines if line.startswith("job "))
