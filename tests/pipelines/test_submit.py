"""Job submission to a real job server with token authentication."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipelines.job_server import Server, free_port, job_server, recipe, submit
from tests.pipelines.processes import DEADLINE_S

pytest.importorskip("aiohttp", reason="the job server (ray[default]) is not pinned for this Python")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with job_server(tmp_path_factory) as running:
        yield running


def test_failed_job_reports_reason_and_node(server: Server, tmp_path: Path) -> None:
    _, file = recipe(tmp_path)
    failed = submit(server, file, "--store", str(tmp_path / "nothing"), "--out", str(tmp_path / "run"))
    assert failed.returncode == 2
    assert f"{tmp_path / 'nothing'} is not a clip store" in failed.stdout
    assert "failed on the machine " in failed.stderr
    assert "exit code 2" in failed.stderr


def test_wrong_token_is_refused(server: Server, store: Path, tmp_path: Path) -> None:
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
        (("demo",), "--out"),
    ],
)
def test_unknown_job_and_missing_arguments_are_reported(
    server: Server, arguments: tuple[str, ...], message: str
) -> None:
    completed = submit(server, *arguments)
    assert completed.returncode == 2
    assert message in completed.stderr
    assert "Traceback" not in completed.stderr


def test_local_job_server_bypasses_the_proxy(server: Server) -> None:
    proxy = f"http://127.0.0.1:{free_port()}"
    completed = submit(server, "--follow", "nobody", HTTP_PROXY=proxy, http_proxy=proxy, NO_PROXY="", no_proxy="")
    assert completed.returncode == 2
    assert "no job 'nobody' on" in completed.stderr


def test_unreachable_job_server_is_named(tmp_path: Path) -> None:
    _, file = recipe(tmp_path)
    address = f"http://127.0.0.1:{free_port()}"
    command = [
        sys.executable,
        "-m",
        "vicc_ray",
        "submit",
        "--dashboard-address",
        address,
        file,
        "--store",
        "/store",
        "--out",
        "/out",
    ]
    completed = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
    assert completed.returncode == 2
    assert f"{address}: no job server answers there" in completed.stderr
