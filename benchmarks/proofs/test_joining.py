"""Connection to a cluster with a wrong token: Ray retries for half a minute and hides the reason."""

from __future__ import annotations

import secrets
import subprocess
import sys

import pytest

from tests.pipelines.job_server import job_server
from tests.pipelines.processes import DEADLINE_S


def test_wrong_token_error_names_the_cluster_and_the_token_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    with job_server(tmp_path_factory) as server:
        environment = {**server.environment, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        command = [sys.executable, "-m", "vicc_ray", "doctor", "--address", server.cluster]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
        assert done.returncode == 2
        assert server.cluster in done.stderr and "~/.ray/auth_token" in done.stderr
