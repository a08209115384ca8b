"""Idle connections are closed in time, and lock out nobody."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from select import select

import pytest

from tests.search.command import wait_until
from tests.search.made import index_here
from tests.search.serving import Served, served
from tests.videos import moving, write_video
from vicc_ray.search.server.connections import ConnectionLimits, process_limits

TOKEN = "t" * 43
ENTITLED = {"Authorization": f"Bearer {TOKEN}"}
HALF = b"GET /api/videos HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Header: "
LIMITS = ConnectionLimits(header_s=1, unread_s=1, trusted_unread_s=1)
PATIENT = ConnectionLimits(header_s=600, unread_s=600, per_address=20)
DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def hasty(index_folder: Path) -> Iterator[Served]:
    """Server with time limits of one second."""
    with served(index_folder, TOKEN, limits=LIMITS) as running:
        yield running


@pytest.fixture(scope="module")
def patient(index_folder: Path) -> Iterator[Served]:
    """Server with long time limits and few connections per address."""
    with served(index_folder, TOKEN, limits=PATIENT) as running:
        yield running


@contextmanager
def opened(server: Served, count: int = 1, sent: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connections on which ``sent`` was sent."""
    with ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), DEADLINE_S))
            connection.sendall(sent)
            connections.append(connection)
        yield connections


def received(connection: socket.socket) -> bytes:
    """All bytes until the server closes the connection."""
    content = bytearray()
    try:
        while chunk := connection.recv(2**16):
            content += chunk
    except ConnectionResetError:
        pass
    return bytes(content)


def closed_among(connections: Sequence[socket.socket]) -> int:
    """Number of connections that the server has closed."""
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
        return len(selector.select(0))


@pytest.mark.slow
@pytest.mark.parametrize("sent", [b"", HALF])
def test_a_request_with_the_token_is_answered_among_many_idle_connections(index_folder: Path, sent: bytes) -> None:
    limits = ConnectionLimits(header_s=600)
    with served(index_folder, TOKEN, limits=limits) as server, opened(server, 300, sent):
        assert server.request("/api/videos", **ENTITLED).status == 200


@pytest.mark.slow
@pytest.mark.parametrize("sent", [b"", HALF, b"GET / HTTP/1.1\r\n", b"POST /api/query HTTP/1.0\r\nContent-Le"])
def test_a_connection_without_a_complete_header_is_closed(hasty: Served, sent: bytes) -> None:
    with opened(hasty, 1, sent) as (connection,):
        assert received(connection) == b""


@pytest.mark.slow
def test_a_slow_header_does_not_extend_the_limit(hasty: Served) -> None:
    with opened(hasty, 1, HALF) as (connection,):
        connection.settimeout(0.02)
        end = time.monotonic() + DEADLINE_S
        with pytest.raises(OSError):  # noqa: PT012 - reading or writing may fail
            while time.monotonic() < end:
                connection.sendall(b"x")
                try:
                    assert connection.recv(1) == b""
                    raise ConnectionResetError
                except TimeoutError:
                    continue


@pytest.mark.slow
def test_the_header_limit_applies_to_later_requests_too(hasty: Served) -> None:
    connection = HTTPConnection("127.0.0.1", hasty.port, timeout=DEADLINE_S)
    connection.request("GET", "/search.css", headers=ENTITLED)
    assert connection.getresponse().read()
    assert isinstance(connection.sock, socket.socket)
    connection.sock.sendall(HALF)
    assert received(connection.sock) == b""


def test_the_oldest_connection_without_the_token_is_closed_for_the_newest(patient: Served) -> None:
    keeper = HTTPConnection("127.0.0.1", patient.port, timeout=DEADLINE_S)
    keeper.request("GET", "/search.css", headers=ENTITLED)
    assert keeper.getresponse().read()
    with opened(patient, PATIENT.per_address + 5, HALF) as connections:
        assert [received(connection) for connection in connections[:5]] == [b""] * 5
        assert closed_among(connections[5:]) == 0
        keeper.request("GET", "/search.css", headers=ENTITLED)  # it does not count as one without the token
        assert keeper.getresponse().status == 200
    keeper.close()


@pytest.mark.slow
def test_the_total_number_of_connections_is_limited(index_folder: Path) -> None:
    limits = replace(PATIENT, total=10)
    with served(index_folder, TOKEN, limits=limits) as server, opened(server, 15) as connections:
        assert [received(connection) for connection in connections[:5]] == [b""] * 5
        assert closed_among(connections[5:]) == 0


@pytest.mark.slow
def test_a_flood_of_connections_does_not_lock_out_the_token(index_folder: Path) -> None:
    """More connections than may be open, all queued before the request."""
    limits = ConnectionLimits(header_s=600)
    with served(index_folder, TOKEN, limits=limits) as server, opened(server, 1500, HALF):
        assert server.request("/api/videos", **ENTITLED).status == 200


@pytest.mark.parametrize("length", ["Content-Length: 1000000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("body", [b"", b"1"])
def test_the_body_of_an_unauthorized_request_is_not_awaited(patient: Served, length: str, body: bytes) -> None:
    head = f"POST /api/query HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\n{length}\r\n\r\n"
    with opened(patient, 1, head.encode() + body) as (connection,):
        assert received(connection).startswith(b"HTTP/1.1 401")


@pytest.mark.slow
def test_an_unread_body_is_not_awaited(hasty: Served) -> None:
    head = f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 999\r\n\r\n"
    with opened(hasty, 1, head.encode()) as (connection,):
        connection.settimeout(0.02)
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            try:
                connection.sendall(b"x")
                if not connection.recv(2**16):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        assert time.monotonic() < end


@pytest.mark.slow
def test_a_client_that_reads_nothing_is_disconnected(tmp_path: Path) -> None:
    video = write_video(tmp_path / "videos/0.mp4", moving(10, 48, 64))
    free = 20_000_000
    with video.open("ab") as file:
        file.write(free.to_bytes(4, "big") + b"free" + bytes(free - 8))
    with served(index_here(tmp_path / "videos", tmp_path / "index"), TOKEN, limits=LIMITS) as server:
        asked = f"GET /video/0 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        with opened(server, 1, asked.encode()) as (connection,):
            assert select([connection], [], [], DEADLINE_S)[0], "no response has started"
            wait_until(lambda: not is_open(video))
            assert 0 < len(received(connection)) < free


def is_open(file: Path) -> bool:
    """Whether this process, which also runs the server, has a file open."""
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            if link.readlink() == file:
                return True
    return False


def test_pipelined_requests_are_all_answered(patient: Served) -> None:
    one = f"GET /search.css HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    with opened(patient, 1, 20 * (one + b"\r\n") + one + b"Connection: close\r\n\r\n") as (connection,):
        assert received(connection).count(b"HTTP/1.1 200 OK") == 21


@pytest.mark.slow
def test_concurrent_requests_with_the_token_are_limited(index_folder: Path) -> None:
    with served(index_folder, TOKEN, max_requests=0) as server:
        assert server.request("/api/videos").status == 401
        answer = server.request("/api/videos", **ENTITLED)
        assert answer.status == 503
        assert answer.headers["retry-after"].isdigit()
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_connection_limits_leave_open_files_for_other_uses() -> None:
    limits = process_limits()
    assert limits.per_address < limits.total <= 1024
