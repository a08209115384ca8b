"""Client of the job server: requests to this machine go directly, and a token goes to no other server."""

from __future__ import annotations

import logging
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vicc_ray.errors import UserError

pytest.importorskip("aiohttp", reason="the job server (ray[default]) is not pinned for this Python")
import requests

from vicc_ray.pipelines.submit import JobServer, bypass_proxies


@pytest.mark.parametrize(
    ("address", "direct"),
    [
        ("http://127.0.0.1:8265", "127.0.0.1"),
        ("http://localhost:8265", "localhost"),
        ("http://[::1]:8265", "::1"),
        ("http://head.example:8265", None),
    ],
)
def test_local_job_server_bypasses_proxies(address: str, direct: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "other.example")
    monkeypatch.setenv("no_proxy", "")
    bypass_proxies(address)
    assert bool(requests.utils.should_bypass_proxies(address, None)) == (direct is not None)
    assert requests.utils.should_bypass_proxies("http://other.example", None)


@pytest.mark.parametrize(
    ("address", "warned"),
    [("http://head.invalid:8265", True), ("https://head.invalid:8265", False), ("http://127.0.0.1:1", False)],
)
def test_token_sent_in_cleartext_gives_a_warning(address: str, warned: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "vicc_ray"), pytest.raises(UserError):
        JobServer(address)
    assert ("token" in caplog.text) == warned
    assert (address in caplog.text) == warned


def test_redirect_does_not_forward_the_token() -> None:
    """A server reached by https may redirect to http."""
    authorizations: dict[int, list[str | None]] = {}

    class Redirects(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            authorizations.setdefault(self.server.server_address[1], []).append(self.headers["Authorization"])
            self.send_response(307 if self.server is first else 404)
            self.send_header("Location", f"http://127.0.0.1:{second.server_port}{self.path}")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Redirects) as first,
        ThreadingHTTPServer(("127.0.0.1", 0), Redirects) as second,
    ):
        serve = [threading.Thread(target=server.serve_forever) for server in (first, second)]
        for thread in serve:
            thread.start()
        try:
            with pytest.raises(UserError):
                JobServer(f"http://127.0.0.1:{first.server_port}")
        finally:
            first.shutdown()
            second.shutdown()
    assert authorizations[first.server_port][0] == f"Bearer {os.environ['RAY_AUTH_TOKEN']}"
    assert set(authorizations[second.server_port]) == {None}
