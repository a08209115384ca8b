"""The real server on 127.0.0.1 in a thread, and HTTP requests to it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vicc_ray.search.reader import SearchIndex
from vicc_ray.search.server.api import Service
from vicc_ray.search.server.app import ServerPolicy, create_app, create_server, listen
from vicc_ray.search.server.connections import ConnectionLimits
from vicc_ray.search.video_folder import VideoFolder

LARGEST = 300_000
"""Upload limit in bytes."""
LIMITS = ConnectionLimits()


@dataclass(frozen=True)
class HttpResponse:
    """Status, headers and body of a response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Served:
    """A running server."""

    port: int
    service: Service

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def request(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> HttpResponse:
        """Send one request; underscores in header names stand for hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named, encode_chunked=not isinstance(body, bytes | None))
            response = connection.getresponse()
            return HttpResponse(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()


@contextmanager
def served(
    folder: Path,
    token: str | None = None,
    loopback: bool = True,
    timeout_s: float = 30,
    limits: ConnectionLimits = LIMITS,
    videos: VideoFolder | None = None,
    **access: int,
) -> Iterator[Served]:
    """Server of an index, for the duration of the block."""
    service = Service(SearchIndex(folder, videos), 4, timeout_s)
    with listen("127.0.0.1", 0) as listening:
        server = create_server(create_app(service, ServerPolicy(token, loopback, LARGEST, **access), limits))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Served(listening.getsockname()[1], service)
        finally:
            server.should_exit = True
            thread.join()
