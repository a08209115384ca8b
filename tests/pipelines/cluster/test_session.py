"""Start of a local Ray and connection to a cluster: each failure gives the advice for its cause."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest
import ray

from tests.pipelines.job_server import free_port
from tests.pipelines.listening import listening, non_loopback
from vicc_ray.cli.main import main
from vicc_ray.config import RayConfig
from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster.address import cluster_address
from vicc_ray.pipelines.cluster.loopback_session import session_token
from vicc_ray.pipelines.cluster.ray_compat import find
from vicc_ray.pipelines.cluster.session import ray_session
from vicc_ray.pipelines.cluster.startup_errors import check_memory, connection_advice, startup_advice
from vicc_ray.utils.background_thread import background_thread


def test_startup_timeout_of_ray_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def times_out(**_: object) -> None:
        raise Exception("The current node timed out during startup. This could happen because")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", times_out)
    monkeypatch.setattr(ray, "shutdown", lambda: None)  # the session of the other tests
    message = r"^Ray did not start: The current node timed out.*machine is busy"
    with pytest.raises(UserError, match=message), ray_session(RayConfig()):
        pass


STARTS = """
import sys
sys.path.remove("")  # as in the command
import os
import ray
from pathlib import Path
from vicc_ray.config import RayConfig
from vicc_ray.pipelines.cluster.session import ray_session
with ray_session(RayConfig(cpus=1, object_store_mb=80)):
    context = ray.get_runtime_context()
    session = Path(context.get_temp_dir()) / context.get_session_name()
    assert os.environ["RAY_AUTH_TOKEN"]
    assert session.parents[1].stat().st_mode & 0o777 == 0o700, "the session folder is readable by others"
    @ray.remote
    def imports_from():
        return sys.path
    print(session, *ray.get(imports_from.remote()), sep="\\n")
assert not [name for name in os.environ if "AUTH" in name]
assert not Path("~/.ray/auth_token").expanduser().exists(), "the token was written to a file"
"""


def test_ray_starts_with_an_unusable_tmpdir_and_leaves_no_files(tmp_path: Path) -> None:
    wanted = tmp_path / ("long" * 20)
    wanted.mkdir()
    (wanted / "ray").write_text("somebody else's")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", STARTS],
        env={**environment, "TMPDIR": str(wanted), "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    session, *imports_from = map(Path, done.stdout.splitlines())
    assert tmp_path not in imports_from, "workers would import modules from the current folder"
    assert "TMPDIR" in done.stderr and str(session.parents[2]) in done.stderr
    assert not session.parents[1].exists()


TOKENS = """
import os, ray
from pathlib import Path
from vicc_ray.config import RayConfig
from vicc_ray.pipelines.cluster.ray_compat import find
from vicc_ray.pipelines.cluster.session import ray_session
os.environ["RAY_AUTH_MODE"] = "token"  # as a user of a cluster sets it, and after the import of Ray
before, tokens = dict(os.environ), set()
for _ in range(2):
    with ray_session(RayConfig(cpus=1, object_store_mb=80)):
        tokens.add(os.environ["RAY_AUTH_TOKEN"])
    assert {name: value for name, value in os.environ.items() if "AUTH" in name} == {"RAY_AUTH_MODE": "token"}
print(len(tokens), "of the cluster" in " ".join(tokens))
"""


def test_each_session_has_its_own_token_instead_of_the_clusters(tmp_path: Path) -> None:
    """Also in a process that has already cached a token, as for submitting a job."""
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("of the cluster" * 3)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("RAY_") or name == "RAY_TMPDIR"
    }
    done = subprocess.run(
        [sys.executable, "-c", TOKENS], env={**environment, "HOME": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2", "False"]


def test_disabled_token_authentication_gives_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with caplog.at_level(logging.WARNING, "vicc_ray"), session_token():
        pass
    assert "RAY_AUTH_MODE" in caplog.text


def test_no_process_listens_beyond_loopback() -> None:
    """Neither Ray, its agents nor its workers; the switch that disables clusters is reset after the start."""
    assert ray.get(ray.remote(free_port).remote())
    assert listening() and not non_loopback(listening())
    constants = find("ray._private.ray_constants")
    assert constants.ENABLE_RAY_CLUSTER and constants.ENABLE_RAY_CLUSTERS_ENV_VAR not in os.environ


def test_object_store_larger_than_memory_is_refused() -> None:
    with pytest.raises(UserError, match=r"ray\.object_store_mb: 900000000 given"):
        check_memory(900000000)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(28, "No space left on device"), "TMPDIR"),
        (RuntimeError("Resource temporarily unavailable"), "ulimit -u"),
        (OSError("[Errno 24] Too many open files"), "ulimit -n"),
        (KeyError("getpwuid(): uid not found: 12345"), "/etc/passwd"),
        (PermissionError(13, "Permission denied", "/some/file"), "/some/file"),
        (OSError(24, "Too many open files", "/some/file"), "ulimit -n"),
        (OSError(12, "Cannot allocate memory", "/some/file"), "ulimit -u"),
        (Exception("unknown failure"), "logs"),
    ],
)
def test_each_startup_error_has_its_own_advice(error: Exception, advice: str, tmp_path: Path) -> None:
    text = startup_advice(RayConfig(), error, tmp_path)
    assert advice in text and "object_store_mb" not in text
    assert "object_store_mb" in startup_advice(RayConfig(), ValueError("not enough object store memory"), tmp_path)


@pytest.mark.parametrize("address", ["http://127.0.0.1:8265", "ray://127.0.0.1:10001"])
def test_wrong_kind_of_address_is_refused_in_variable_and_option(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert main(["doctor"]) == 2
    by_variable = capsys.readouterr().err
    monkeypatch.delenv("RAY_ADDRESS")
    assert main(["doctor", "--address", address]) == 2
    assert by_variable.replace("RAY_ADDRESS", "--address") == capsys.readouterr().err
    assert "vicc-ray submit" in by_variable


def test_command_without_a_cluster_ignores_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")  # the form that `ray job submit` reads
    assert main(["config", "demo", "--no-comments"]) == 0


@pytest.mark.parametrize(("value", "address"), [("local", None), ("", None), ("auto", "auto"), ("h:6379", "h:6379")])
def test_local_address_means_no_cluster(value: str, address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", value)
    assert cluster_address() == address


def refused(cause: Exception) -> Exception:
    """Connection error as Ray raises it."""
    error = ConnectionError("Failed to connect to Ray cluster at head:6379")
    error.__cause__ = cause
    return error


def test_unreachable_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)  # the session of the other tests
    with pytest.raises(UserError, match=f"{address}.*RAY_ADDRESS.*port of its head"), ray_session(RayConfig()):
        pass


def test_port_of_a_web_server_gives_the_advice_to_submit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        server.timeout = 10
        address = f"127.0.0.1:{server.server_port}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        refusal = pytest.raises(UserError, match=f"submit --dashboard-address http://{address}")
        with background_thread(lambda over: server.handle_request()), refusal, ray_session(RayConfig()):
            pass


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (refused(RuntimeError("Unauthenticated: RPC error: InvalidAuthToken")), "~/.ray/auth_token"),
        (ConnectionError("Could not find any running Ray instance."), "node of the cluster"),
        (RuntimeError("Version mismatch: The cluster was started with"), "versions"),
        (RuntimeError("Timed out while waiting for GCS to become available."), "port of the head"),
    ],
)
def test_each_connection_error_has_its_own_advice(error: Exception, advice: str) -> None:
    assert advice in connection_advice("head:6379", error)
