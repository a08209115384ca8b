"""Uploads: no file remains, and their number and size are limited."""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPResponse
from pathlib import Path
from socket import create_connection, socket

import pytest
from starlette.exceptions import HTTPException

from tests.search.command import Command, serving, wait_until
from tests.search.serving import served
from vicc_ray.search.server import upload
from vicc_ray.search.server.upload_space import UploadSpace

SIZE = 5_000_000


@pytest.fixture
def command(index_folder: Path, tmp_path: Path) -> Iterator[Command]:
    with serving(index_folder, "--max-upload", "20", environment={"TMPDIR": str(tmp_path)}) as running:
        yield running


def answer_of(connection: socket) -> tuple[HTTPResponse, dict[str, str]]:
    answer = HTTPResponse(connection)
    answer.begin()
    return answer, json.loads(answer.read())


def files(folder: Path) -> list[Path]:
    """Files only, because torch creates a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.slow
def test_a_server_killed_during_an_upload_leaves_no_file(command: Command, tmp_path: Path) -> None:
    with command.connect() as connection:
        connection.sendall(command.upload_head(SIZE) + bytes(SIZE // 2))
        wait_until(lambda: max(command.open_sizes(tmp_path), default=0) >= 2**20)
        command.process.kill()
        command.process.wait()
    assert not files(tmp_path)


@pytest.mark.slow
def test_a_server_killed_during_decoding_leaves_no_file(command: Command, tmp_path: Path) -> None:
    (decoding,) = command.children()
    os.kill(decoding, signal.SIGSTOP)
    try:
        with command.connect() as connection:
            connection.sendall(command.upload_head(SIZE) + bytes(SIZE))
            wait_until(lambda: SIZE in command.open_sizes(tmp_path))
            command.process.kill()
            command.process.wait()
        assert not files(tmp_path)
    finally:
        os.kill(decoding, signal.SIGKILL)


@pytest.mark.slow
def test_a_full_disk_is_reported_and_the_server_continues(command: Command, tmp_path: Path) -> None:
    before = resource.prlimit(command.process.pid, resource.RLIMIT_FSIZE, (2**20, -1))
    with command.connect() as connection:
        connection.sendall(command.upload_head(SIZE) + bytes(SIZE))
        answer, content = answer_of(connection)
    assert (answer.status, "disk" in content["error"]) == (507, True)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not command.open_sizes(tmp_path)
    resource.prlimit(command.process.pid, resource.RLIMIT_FSIZE, before)
    with command.connect() as connection:
        connection.sendall(command.upload_head(SIZE) + bytes(SIZE))
        assert answer_of(connection)[0].status == 422


@pytest.mark.slow
def test_concurrent_uploads_are_limited(index_folder: Path) -> None:
    """A refused upload succeeds after another one has ended."""
    head = b"POST /api/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
    with served(index_folder, max_uploads=2) as server, ExitStack() as stack:
        waiting = [stack.enter_context(create_connection(("127.0.0.1", server.port), 60)) for _ in range(2)]
        for connection in waiting:
            connection.sendall(head + b"x")
        wait_until(lambda: server.request("/api/query", "POST", b"no video").status == 503)
        refused = server.request("/api/query", "POST", b"no video")
        assert refused.headers["retry-after"].isdigit()
        assert refused.json["error"]
        waiting[0].close()
        wait_until(lambda: server.request("/api/query", "POST", b"no video").status == 422)


@pytest.mark.slow
def test_a_stalled_upload_times_out(index_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "IDLE_S", 0.2)
    with served(index_folder) as server, create_connection(("127.0.0.1", server.port), 60) as connection:
        connection.sendall(b"POST /api/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nx")
        assert answer_of(connection)[0].status == 408


def test_the_total_size_of_uploads_is_limited() -> None:
    space = UploadSpace(5, 100)
    with space.reserve() as first, space.reserve() as second:
        first.grow(70)
        second.grow(30)
        with pytest.raises(HTTPException) as refused:
            second.grow(1)
        assert refused.value.status_code == 503
    with space.reserve() as again:
        again.grow(100)
