"""Jobs: a killed job can be resumed, and a job outlives its client."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.pipelines.job_server import Server, job_server, recipe, submit
from tests.pipelines.processes import DEADLINE_S, command, past, wait_until
from tests.pipelines.runs import computed_here, losses
from vicc_ray.runs.run_dir import RunDir

pytest.importorskip("aiohttp", reason="the job server (ray[default]) is not pinned for this Python")


def test_a_killed_job_says_so_and_is_resumed_and_outlives_who_submitted_it(
    store: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with job_server(tmp_path_factory) as server:
        _disturbed(server, store, tmp_path)


def _disturbed(server: Server, store: Path, tmp_path: Path) -> None:
    (config, file), run = recipe(tmp_path, epochs=60), RunDir(tmp_path / "run")
    arguments = (file, "--store", str(store), "--out", str(run.path))
    following = ("submit", *arguments, "--dashboard-address", server.address)
    with command(*following, environment=server.environment) as client:
        wait_until(past(run, 0), client)
        first = _job_in(client.stderr)
        again = submit(server, *arguments, "--no-wait")  # the same again finds the job that runs
        assert _job_in(again.stderr.splitlines()) == first
        (driver,) = server.drivers()
        driver.kill()
        assert client.wait(DEADLINE_S) == 2
        assert "failed on the machine " in client.stderr.read()
    ended = submit(server, *arguments)
    assert ended.returncode == 2
    assert "wrote there and has ended (FAILED); give --resume to go on with it" in ended.stderr
    with command(*following, "--resume", environment=server.environment) as client:
        second = _job_in(client.stderr)
        wait_until(past(run, run.step), client)
        client.kill()
    followed = submit(server, "--follow", second)
    assert followed.returncode == 0, followed.stderr
    assert "240/240" in followed.stdout
    assert losses(run.path) == [float(f"{loss:.9g}") for loss in computed_here(config, store)]


def _job_in(lines: Iterable[str]) -> str:
    """The job's name."""
    return next(line.split()[1] for line in lines if line.startswith("job "))
