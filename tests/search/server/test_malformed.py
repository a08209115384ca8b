"""Malformed requests: never a server error, and always the security headers."""

from __future__ import annotations

import os
import random
import shutil
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import pytest

from tests.search.made import index_here
from tests.search.serving import Served, served
from tests.videos import moving, write_video
from vicc_ray.search.server.security_headers import SECURITY_HEADERS
from vicc_ray.search.video_folder import VideoFolder

TOKEN = "t" * 43
ODD = (
    b"\xff\xfe", b"\xed\xa0\x80", b"http://[", b"[", b"]", b"%ff", b"%", b"%00", b"%0d%0a", b"\xc2\xb2", b"\x7f", b"\t",
    b"", b" ", b"=", b";", b",", b'"', b"\\", b"/", b"..", b"-1", b"0", b"9" * 30, b"9" * 5000, b"bytes=", b"1-", b"-",
    b"bytes=0-0,-1", b"bytes=" + b"0-1," * 99, b"bytes=5-2", b"bytes=99999999999999999999-", b"bytes=\xb2-",
    b"a" * 3000,
    b"localhost", b"127.0.0.1:99999999", b"multipart/form-data", b"token=", b"chunked", b"text/html", b"null", b"\x00",
    b"Bearer", b"close", b"100-continue", b"https", b"\xe2\x80\xae", b"${x}", b"<b>", b"W/",
)  # fmt: skip
HEADERS = (
    b"Host", b"Origin", b"Cookie", b"Authorization", b"X-File-Name", b"Content-Type", b"Range", b"If-Range", b"Accept",
    b"Sec-Fetch-Site", b"X-Forwarded-Proto", b"X-Forwarded-For", b"Content-Length", b"Transfer-Encoding", b"Expect",
    b"Upgrade", b"Connection", b"If-None-Match", b"Referer",
)  # fmt: skip
PATHS = (
    b"/",
    b"/api/videos",
    b"/api/neighbors/",
    b"/api/neighbors/1",
    b"/thumbnail/",
    b"/video/0",
    b"/video/",
    b"/api/query",
    b"/x",
    b"*",
)
QUERIES = (b"named=", b"id=", b"token=", b"id=a&id=", b"&", b"")
VERSIONS = (b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0")
METHODS = (b"GET", b"GET", b"GET", b"GET", b"HEAD", b"POST", b"POST", b"PUT", b"OPTIONS", b"CONNECT", b"G\xffT")


@pytest.fixture(scope="module")
def server(index_folder: Path) -> Iterator[Served]:
    with served(index_folder, TOKEN) as running:
        yield running


def check(server: Served, request: bytes) -> int:
    """Status of the response, after a check of its headers."""
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        connection.sendall(request)
        answer = HTTPResponse(connection)
        answer.begin()
        missing = [name for name in SECURITY_HEADERS if name not in answer.headers]
        assert not missing, (missing, answer.status, request[:300])
        assert answer.status < 500, request[:300]
        return answer.status


def odd_request(rng: random.Random) -> bytes:
    """A valid request with some random changes."""
    lines = [b"Authorization: Bearer " + TOKEN.encode()] * (rng.random() < 0.9)
    if rng.random() < 0.9:
        lines.append(b"Host: localhost")
    body = rng.choice((b"", b"no video"))
    if body and rng.random() < 0.9:
        lines.append(b"Content-Length: %d" % len(body))
    for _ in range(rng.randrange(3)):
        lines.append(rng.choice(HEADERS) + b": " + b"".join(rng.choices(ODD, k=rng.choice((1, 1, 2)))))
    rng.shuffle(lines)
    query = rng.choice((b"", b"?" + rng.choice(QUERIES) + rng.choice(ODD)))
    target = rng.choice(PATHS) + rng.choice((b"", b"", rng.choice(ODD))) + query
    first = b" ".join((rng.choice(METHODS), target, rng.choice(VERSIONS)))
    return b"\r\n".join((first, *lines, b"", body))


@pytest.mark.slow
def test_no_request_causes_a_server_error(server: Served) -> None:
    rng = random.Random(0)
    statuses = {check(server, odd_request(rng)) for _ in range(500)}
    assert {200, 303, 400, 401, 403, 404, 405, 422} - statuses == set()
    assert server.request("/api/videos", Authorization=f"Bearer {TOKEN}").status == 200


@pytest.mark.parametrize("path", ["/video/", "/thumbnail/", "/api/neighbors/"])
def test_no_row_number_causes_a_server_error(server: Served, path: str) -> None:
    for number in ("-1", "9" * 23, "9" * 5000, "1e3", "0x1", "+1", "1_0", "%C2%B2", "%EF%BC%91", "%20", "%ff", "00"):
        answer = server.request(path + number, Authorization=f"Bearer {TOKEN}")
        assert answer.status == (404 if number != "00" else 200)


@pytest.mark.parametrize("request_", [b"\x16\x03\x01", b"GET / HTTP/9.9", b"GET / HTTP/1.1", b"GET /" + 70_000 * b"x"])
def test_invalid_http_gets_the_security_headers_too(server: Served, request_: bytes) -> None:
    assert check(server, request_ + b"\r\n\r\n") == 400


@pytest.mark.parametrize(
    ("range_", "status"),
    [("bytes=0-0", 206), ("bytes=-5", 206), ("bytes=0-0,5-6", 206), ("bytes=" + "0-1," * 200, 200), ("bytes=5-2", 400),
     ("bytes=" + "9" * 5000 + "-", 400), ("bytes=99999999999-", 416), ("lines=1-2", 400), ("\xb2", 400),
     ("bytes=-", 400)],
)  # fmt: skip
def test_no_range_causes_a_server_error(server: Served, range_: str, status: int) -> None:
    answer = server.request("/video/0", Authorization=f"Bearer {TOKEN}", Range=range_)
    assert answer.status == status
    assert all(name.lower() in answer.headers for name in SECURITY_HEADERS)


def test_server_errors_have_the_security_headers_too(index_folder: Path, tmp_path: Path) -> None:
    """The index is removed while it is served."""
    folder = Path(shutil.copytree(index_folder, tmp_path / "index"))
    with served(folder) as server:
        for part in folder.glob("part-*.parquet"):
            part.unlink()
        answer = server.request("/api/neighbors/0")
        assert answer.status == 500
        assert answer.json["error"]
        assert all(name.lower() in answer.headers for name in SECURITY_HEADERS)


@pytest.mark.slow
def test_names_that_are_not_utf8_work(tmp_path: Path) -> None:
    videos, moved = tmp_path / "videos", Path(os.fsdecode(os.fsencode(tmp_path) + b"/moved \xff"))
    for name in (b"\xff\xfe video.mp4", b"fi\nlm \xe2\x80\xae.mp4", b"plain.mp4"):
        write_video(videos / os.fsdecode(name), moving(10, 48, 64))
    index = index_here(videos, tmp_path / "index")
    videos.rename(moved)
    with served(index, videos=VideoFolder(moved)) as server:
        shown = server.request("/api/videos").json["videos"]
        assert len(shown) == 3
        for video in shown:
            assert server.request(f"/api/neighbors/{video['row']}").status == 200
            answer = server.request(f"/video/{video['row']}")
            assert (answer.status, answer.headers["content-type"]) == (200, "video/mp4")
        (moved / "plain.mp4").unlink()
        assert "1 of these" in server.request(f"/api/neighbors/{shown[0]['row']}").json["note"]
