"""The server over HTTP: searches, refusals, and the command itself."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.interrupts import taking_interrupts
from tests.search.serving import LARGEST, Served, served
from vicc_ray.errors import UserError
from vicc_ray.search.server.app import listen


@pytest.fixture(scope="module")
def server(index_folder: Path) -> Iterator[Served]:
    """Server on loopback without a token."""
    with served(index_folder) as running:
        yield running


@pytest.mark.slow
def test_an_uploaded_video_finds_its_neighbors_and_is_not_kept(
    server: Served, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    answer = server.request("/api/query", "POST", (videos / "b/up.mp4").read_bytes(), X_File_Name="mine%20%26.mp4")
    assert answer.status == 200
    assert answer.json["query"]["id"] == "mine &.mp4"
    assert answer.json["query"]["thumbnail"].startswith("data:video/mp4;base64,")
    first = answer.json["results"][0]
    assert (first["id"], first["score"]) == ("b/up.mp4", pytest.approx(1, abs=1e-3))
    assert len(answer.json["results"]) == 4
    assert not list(tmp_path.iterdir())


def test_indexed_videos_are_addressed_by_row(server: Served, videos: Path) -> None:
    shown = server.request("/api/videos").json["videos"]
    assert [video["row"] for video in shown] == list(range(5))
    (found,) = server.request("/api/videos?named=UP.M").json["videos"]
    assert found["id"] == "b/up.mp4"
    like = server.request(f"/api/neighbors/{found['row']}").json
    assert like["query"] == found
    assert found["row"] not in [video["row"] for video in like["results"]]
    thumbnail = server.request("/" + found["thumbnail"])
    assert (thumbnail.status, thumbnail.headers["content-type"], thumbnail.body[4:8]) == (200, "video/mp4", b"ftyp")
    part = server.request(f"/video/{found['row']}", Range="bytes=10-19")
    assert (part.status, part.body) == (206, (videos / "b/up.mp4").read_bytes()[10:20])


@pytest.mark.parametrize(
    "path", ["/api/neighbors/5", "/api/neighbors/99999999999999999999", "/thumbnail/5", "/video/5"]
)
def test_missing_rows_are_404(server: Served, path: str) -> None:
    answer = server.request(path)
    assert (answer.status, list(answer.json)) == (404, ["error"])


@pytest.mark.parametrize(
    "path",
    ["/video/-1", "/video/..%2f..%2fetc%2fpasswd", "/thumbnail/../index.json", "/../../etc/passwd", "/index.json",
     "/encoder.safetensors", "/search.js/../index.json", "//etc/passwd", "/api/neighbors/1%00", "/video/a%2fleft.mp4",
     "/search.js/"],
)  # fmt: skip
def test_no_file_can_be_addressed_by_path(server: Served, path: str) -> None:
    assert server.request(path).status == 404


@pytest.mark.slow
def test_oversized_uploads_are_refused_with_or_without_content_length(server: Served) -> None:
    answer = server.request("/api/query", "POST", Content_Length=str(LARGEST + 1))
    assert answer.status == 413
    assert "larger than the 0.286" in answer.json["error"]
    chunks = iter([b"x" * (LARGEST // 2), b"x" * (LARGEST // 2), b"x"])
    assert server.request("/api/query", "POST", chunks, Transfer_Encoding="chunked").status == 413
    assert server.request("/api/query", "POST", b"x" * LARGEST).status == 422


def test_uploads_that_are_not_videos_are_refused(server: Served) -> None:
    answer = server.request("/api/query", "POST", b"no video")
    assert (answer.status, "not a video" in answer.json["error"]) == (422, True)
    assert server.request("/api/query", "POST", b"").status == 400
    playlist = b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    assert server.request("/api/query", "POST", playlist).status == 422
    assert server.request("/api/query").status == 405


def test_wrong_upload_requests_get_the_correct_command(server: Served, videos: Path) -> None:
    video = (videos / "b/up.mp4").read_bytes()
    right = f"--data-binary @query.mp4 {server.address}api/query"
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="up.mp4"\r\n\r\n' + video + b"\r\n--x--\r\n"
    as_form = server.request("/api/query", "POST", form, Content_Type="multipart/form-data; boundary=x")
    assert (as_form.status, right in as_form.json["error"]) == (415, True)
    for path, method, status in (("/", "POST", 405), ("/", "PUT", 405), ("/search", "POST", 404)):
        answer = server.request(path, method, form, Content_Type="multipart/form-data; boundary=x")
        assert (answer.status, right in answer.json["error"]) == (status, True)
    assert right not in server.request("/nothing").json["error"]
    as_text = {
        "Content_Type": "application/x-www-form-urlencoded"
    }  # the type that curl sends with -d and --data-binary
    assert server.request("/api/query", "POST", video, **as_text).status == 200
    assert "--data-binary" in server.request("/api/query", "POST", b"no video", **as_text).json["error"]


def test_results_come_first_in_a_response(server: Served, videos: Path) -> None:
    answer = server.request("/api/query", "POST", (videos / "b/up.mp4").read_bytes())
    text = answer.body.decode()
    assert text.index('"b/up.mp4"') < 200
    assert text.index("base64") > max(text.index(found["id"]) for found in answer.json["results"])
    assert text.index("base64") > text.index("took_ms")


@pytest.mark.parametrize("path", ["/", "/search.js", "/api/videos", "/nothing", "/thumbnail/0", "/video/0"])
def test_every_response_has_the_security_headers(server: Served, path: str) -> None:
    headers = server.request(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_its_link_and_ends_on_a_signal(index_folder: Path, signum: signal.Signals) -> None:
    command = taking_interrupts([sys.executable, "-m", "vicc_ray", "serve", str(index_folder), "--port", "0"])
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        printed = re.search(r"5 videos; open (http://127.0.0.1:\d+/)\?token=([\w-]{43})", process.stdout.readline())
        try:
            assert printed
            assert printed[2] not in Path(f"/proc/{process.pid}/cmdline").read_text()
            with pytest.raises(HTTPError, match="401"):
                urlopen(printed[1])
            with urlopen(Request(printed[1], headers={"Authorization": f"Bearer {printed[2]}"})) as answer:
                assert b"vicc-ray search" in answer.read()
        finally:
            process.send_signal(signum)
        assert "Traceback" not in process.stderr.read()
    assert process.returncode == 128 + signum


def test_an_unavailable_address_is_an_error_that_names_it(server: Served) -> None:
    with pytest.raises(UserError, match=rf"--port {server.port}: Address already in use"):
        listen("127.0.0.1", server.port)
    with pytest.raises(UserError, match=r"--host 198.51.100.1 "):
        listen("198.51.100.1", 0)


@pytest.mark.slow
def test_the_error_of_a_timeout_states_the_limit(index_folder: Path, videos: Path) -> None:
    with served(index_folder, timeout_s=1e-6) as server:
        answer = server.request("/api/query", "POST", (videos / "b/up.mp4").read_bytes())
    assert (answer.status, "1e-06 s" in answer.json["error"]) == (422, True)
