"""Jobs on a cluster's real job server, behind its token."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray  # puts its own psutil where Python looks

# isort: split
import psutil

from tests.pipelines.processes import DEADLINE_S, command, past, wait_until
from tests.pipelines.runs import computed_here, losses, settings
from vicc_ray.config import Config
from vicc_ray.recipe import dump_config
from vicc_ray.training.run_folder import RunFolder

pytest.importorskip("aiohttp", reason="the job server (ray[default]) is not pinned for this Python")

assert ray


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass(frozen=True)
class Server:
    """A job server, and the environment of those who may use it."""

    address: str
    environment: dict[str, str]
    head: psutil.Popen

    def drivers(self) -> list[psutil.Process]:
        """The processes of jobs."""
        found = self.head.children(recursive=True)
        return [process for process in found if process.cmdline()[1:4] == ["-m", "vicc_ray", "pretrain"]]


@contextmanager
def job_server(folder: Path) -> Iterator[Server]:
    """That of a cluster of one machine."""
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    environment = {**{name: value for name, value in os.environ.items() if not name.startswith("RAY_")}, **secret}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    port = free_port()
    start = ["--head", "--block", "--num-cpus=2", "--object-store-memory=160000000", "--include-dashboard=true"]
    ports = [f"--port={free_port()}", "--dashboard-host=127.0.0.1", f"--dashboard-port={port}"]
    ports += [f"--dashboard-agent-listen-port={free_port()}"]  # another Ray on this machine has the usual one
    program = [sys.executable, "-m", "ray.scripts.scripts", "start", *start, *ports, f"--temp-dir={folder}"]
    with (folder / "log").open("w") as log, psutil.Popen(program, env=environment, stdout=log, stderr=log) as head:
        try:
            end = time.monotonic() + DEADLINE_S
            while socket.socket().connect_ex(("127.0.0.1", port)):
                assert head.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < end
                time.sleep(0.1)
            yield Server(f"http://127.0.0.1:{port}", environment, head)
        finally:
            for process in [*head.children(recursive=True), head]:
                process.kill()  # `ray stop` would end those of others


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # Ray's sockets have long names, and a socket's path may have 107 bytes.
    folder = Path(tmp_path_factory.getbasetemp().parent) / f"r{os.getpid()}"
    folder.mkdir()
    with job_server(folder) as found:
        yield found


def submit(server: Server, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, "-m", "vicc_ray", "submit", "--address", server.address, *arguments]
    environment = {**server.environment, **changes}
    return subprocess.run(whole, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)


def recipe(folder: Path, epochs: int = 1) -> tuple[Config, str]:
    schedule = {"rgb_epochs": epochs, "flow_epochs": 0, "stage1_cosine_epochs": epochs, "cycles": 0}
    config = settings(schedule=schedule, train={"batch": 4, "evaluate_epochs": 0, "checkpoint_steps": 2})
    (folder / "recipe.yaml").write_text(dump_config(config))
    return config, str(folder / "recipe.yaml")


def test_a_killed_job_says_so_and_is_resumed_and_outlives_who_submitted_it(
    server: Server, store: Path, tmp_path: Path
) -> None:
    (config, file), run = recipe(tmp_path, epochs=60), RunFolder(tmp_path / "run")
    arguments = (file, "--store", str(store), "--out", str(run.path))
    following = ("submit", *arguments, "--address", server.address)
    with command(*following, environment=server.environment) as client:
        wait_until(past(run, 0), client)
        first = _job_in(client.stderr)
        again = submit(server, *arguments, "--detach")  # the same again finds the job that runs
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
    assert "rgb-stage1: step 240/240" in followed.stdout
    assert losses(run.path) == [float(f"{loss:.9g}") for loss in computed_here(config, store)]


def _job_in(lines: Iterable[str]) -> str:
    """The job's name."""
    return next(line.split()[1] for line in lines if line.startswith("job "))


def test_a_job_that_fails_says_why_and_where(server: Server, tmp_path: Path) -> None:
    _, file = recipe(tmp_path)
    failed = submit(server, file, "--store", str(tmp_path / "nothing"), "--out", str(tmp_path / "run"))
    assert failed.returncode == 2
    assert f"{tmp_path / 'nothing'} is not a clip store" in failed.stdout
    assert "failed on the machine " in failed.stderr
    assert "exit code 2" in failed.stderr


def test_who_has_another_token_is_refused(server: Server, store: Path, tmp_path: Path) -> None:
    _, file = recipe(tmp_path)
    arguments = (file, "--store", str(store), "--out", str(tmp_path / "run"))
    refused = submit(server, *arguments, RAY_AUTH_TOKEN=secrets.token_hex(32))
    assert refused.returncode == 2
    assert "does not take the token of this machine" in refused.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--follow", "nobody"), "no job 'nobody' on http://127.0.0.1:"),
        (("demo",), "give RECIPE or SWEEP and --out"),
    ],
)
def test_what_is_not_there_is_told(server: Server, arguments: tuple[str, ...], message: str) -> None:
    told = submit(server, *arguments)
    assert told.returncode == 2
    assert message in told.stderr
    assert "Traceback" not in told.stderr


def test_where_nobody_answers_is_told(tmp_path: Path) -> None:
    _, file = recipe(tmp_path)
    address = f"http://127.0.0.1:{free_port()}"
    whole = [
        sys.executable,
        "-m",
        "vicc_ray",
        "submit",
        "--address",
        address,
        file,
        "--store",
        "/store",
        "--out",
        "/out",
    ]
    told = subprocess.run(whole, capture_output=True, text=True, timeout=DEADLINE_S)
    assert told.returncode == 2
    assert f"{address}: no job server answers there" in told.stderr
