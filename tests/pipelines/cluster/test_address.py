"""Authentication token of a cluster: when it is sent, and warnings about its file mode."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from vicc_ray.pipelines.cluster.address import use_token


@pytest.fixture(autouse=True)
def _without_test_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "")  # registers the variable, which is restored at the end
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.setenv("HOME", str(tmp_path))


def token_file(folder: Path, mode: int) -> Path:
    file = folder / ".ray" / "auth_token"
    file.parent.mkdir()
    file.write_text("0" * 64)
    file.chmod(mode)
    return file


def test_no_token_file_leaves_authentication_off() -> None:
    use_token()
    assert "RAY_AUTH_MODE" not in os.environ


@pytest.mark.parametrize(
    ("mode", "warned"), [(0o600, False), (0o400, False), (0o644, True), (0o640, True), (0o602, True)]
)
@pytest.mark.parametrize("where", ["home", "RAY_AUTH_TOKEN_PATH"])
def test_token_file_readable_by_others_is_used_with_a_warning(
    where: str,
    mode: int,
    warned: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The file is at the path that Ray 2.60.0 writes."""
    file = token_file(tmp_path, mode)
    if where != "home":
        monkeypatch.setenv(where, str(file))
        monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
    with caplog.at_level(logging.WARNING, "vicc_ray"):
        use_token()
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert (str(file) in caplog.text) == warned


def test_unused_token_file_gives_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    token_file(tmp_path, 0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "1" * 64)
    with caplog.at_level(logging.WARNING, "vicc_ray"):
        use_token()
    assert not caplog.records
