"""``vicc-ray serve``: its token, printed or stored, and when none is needed."""

from __future__ import annotations

import re
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.search.command import Command, serving
from vicc_ray.cli.main import build_parser, main
from vicc_ray.errors import UserError
from vicc_ray.search.server.sandbox import MEMORY
from vicc_ray.search.server.token_file import new_token, stored_token


def status(command: Command, token: str = "") -> int:
    connection = HTTPConnection("127.0.0.1", command.port, timeout=60)
    connection.request("GET", "/api/videos", headers={"Authorization": f"Bearer {token}"} if token else {})
    answer = connection.getresponse().status
    connection.close()
    return answer


@pytest.mark.slow
def test_no_token_is_needed_with_no_token(index_folder: Path) -> None:
    """The link has a host name that is accepted, however the host was given."""
    with serving(index_folder, "--no-token", "--host", "127.1") as command:
        assert command.link == f"http://127.0.0.1:{command.port}/"
        assert (command.token, status(command)) == ("", 200)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_no_token_is_refused_on_public_addresses(
    index_folder: Path, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(index_folder), "--host", host, "--port", "0", "--no-token"]) == 2
    assert "--no-token" in capsys.readouterr().err


def test_the_upload_limit_fits_the_memory_of_a_decoder(index_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    largest = build_parser().parse_args(["serve", str(index_folder), "--max-upload", "2048"]).max_upload
    assert 2 * largest * 2**20 < MEMORY
    with pytest.raises(SystemExit) as stopped:
        build_parser().parse_args(["serve", str(index_folder), "--max-upload", "2049"])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert all(word in message for word in ("--max-upload", "2049", "2048"))


@pytest.mark.slow
def test_a_stored_token_is_not_printed(index_folder: Path, tmp_path: Path) -> None:
    token = stored_token(tmp_path / "token")
    with serving(index_folder, "--token-file", str(tmp_path / "token")) as command:
        assert token not in command.link
        assert (status(command), status(command, token)) == (401, 200)
        assert token not in Path(f"/proc/{command.process.pid}/cmdline").read_text()


def test_a_token_file_is_created_once_and_private(tmp_path: Path) -> None:
    token = stored_token(tmp_path / "token")
    assert re.fullmatch(r"[\w-]{43}", token)
    assert stored_token(tmp_path / "token") == token != new_token()
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o644])
def test_a_token_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "token"
    token = stored_token(file)
    file.chmod(mode)
    with pytest.raises(UserError, match=f"{mode:04o}") as refused:
        stored_token(file)
    assert token not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["", "short", "x" * 31, "a token with spaces in it, which is long", "x" * 600, "\xff" * 40]
)
def test_an_invalid_token_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(text, "latin-1")
    with pytest.raises(UserError, match="32"):
        stored_token(file)


def test_an_impossible_token_file_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none/token"):
        with pytest.raises(UserError, match="--token-file"):
            stored_token(path)
