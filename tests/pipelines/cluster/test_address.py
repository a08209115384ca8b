"""The token of a cluster: whether it is sent, and who else may read it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from vicc_ray.pipelines.cluster.address import use_token


@pytest.fixture(autouse=True)
def _no_token_of_the_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "")  # put back at the end, whatever becomes of it
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.setenv("HOME", str(tmp_path))


def token_file(folder: Path, mode: int) -> Path:
    file = folder / ".ray" / "auth_token"
    file.parent.mkdir()
    file.write_text("0" * 64)
    file.chmod(mode)
    return file


def test_none_is_sent_where_none_is() -> None:
    use_token()
    assert "RAY_AUTH_MODE" not in os.environ


@pytest.mark.parametrize(
    ("mode", "told"), [(0o600, False), (0o400, False), (0o644, True), (0o640, True), (0o602, True)]
)
@pytest.mark.parametrize("where", ["home", "RAY_AUTH_TOKEN_PATH"])
def test_a_file_that_others_may_read_is_used_and_told(
    where: str, mode: int, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As Ray 2.60.0 makes it."""
    file = token_file(tmp_path, mode)
    if where != "home":
        monkeypatch.setenv(where, str(file))
        monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
    with caplog.at_level(logging.WARNING, "vicc_ray"):
        use_token()
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert (str(file) in caplog.text) == told


def test_a_file_that_is_not_used_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    token_file(tmp_path, 0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "1" * 64)
    with caplog.at_level(logging.WARNING, "vicc_ray"):
        use_token()
    assert not caplog.records
