"""A real Ray job server on this machine, with token authentication, and `vicc-ray submit` to it."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray  # puts its bundled psutil on sys.path

# isort: split
import psutil

from tests.pipelines.processes import DEADLINE_S
from tests.pipelines.runs import settings
from vicc_ray.config import Config
from vicc_ray.config.loader import dump_config

assert ray


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass(frozen=True)
class Server:
    """A job server, and the environment of a client with its token; ``cluster``: address of its head."""

    address: str
    cluster: str
    environment: dict[str, str]
    head: psutil.Popen

    def drivers(self) -> list[psutil.Process]:
        """Driver processes of jobs."""
        children = self.head.children(recursive=True)
        return [process for process in children if process.cmdline()[1:4] == ["-m", "vicc_ray", "pretrain"]]


@contextmanager
def job_server(temporary: pytest.TempPathFactory) -> Iterator[Server]:
    """Start a cluster of one node and its job server; killed at the end of the block."""
    # Ray's socket names are long, and a socket path is limited to 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="r", dir=temporary.getbasetemp().parent))
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    environment = {**{name: value for name, value in os.environ.items() if not name.startswith("RAY_")}, **secret}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    port, gcs_port = free_port(), free_port()
    start = ["--head", "--block", "--num-cpus=2", "--object-store-memory=160000000", "--include-dashboard=true"]
    ports = [f"--port={gcs_port}", "--dashboard-host=127.0.0.1", f"--dashboard-port={port}"]
    ports += [f"--dashboard-agent-listen-port={free_port()}"]  # another Ray on this machine uses the default
    program = [sys.executable, "-m", "ray.scripts.scripts", "start", *start, *ports, f"--temp-dir={folder}"]
    with (folder / "log").open("w") as log, psutil.Popen(program, env=environment, stdout=log, stderr=log) as head:
        try:
            end = time.monotonic() + DEADLINE_S
            while socket.socket().connect_ex(("127.0.0.1", port)):
                assert head.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < end
                time.sleep(0.1)
            yield Server(f"http://127.0.0.1:{port}", f"127.0.0.1:{gcs_port}", environment, head)
        finally:
            for process in [*head.children(recursive=True), head]:
                process.kill()  # `ray stop` would kill unrelated clusters too


def submit(server: Server, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vicc_ray", "submit", "--dashboard-address", server.address, *arguments]
    environment = {**server.environment, **changes}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)


def recipe(folder: Path, epochs: int = 1) -> tuple[Config, str]:
    schedule = {"rgb_epochs": epochs, "flow_epochs": 0, "stage1_cosine_epochs": epochs, "cycles": 0}
    config = settings(
        schedule=schedule, train={"global_batch_size": 4, "validate_every_epochs": 0, "checkpoint_every_steps": 2}
    )
    (folder / "recipe.yaml").write_text(dump_config(config))
    return config, str(folder / "recipe.yaml")
