"""Connection limits of the server: how long a client may stall, and how many connections may be open without the token.

The token is known only after the header of a request, so connections are limited before that. If too many are open, the
oldest one without the token is closed in favor of the newest. A client that hoards connections therefore cannot lock
out others, even from the same address (accounts of one machine, people behind one proxy).
"""

from __future__ import annotations

import asyncio
import ipaddress
import resource
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import h11
from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from vicc_ray.search.server.security_headers import SECURITY_HEADERS

MAX_OPEN_FILES = 8192
"""Most open files that the process requests from the operating system."""
OTHER_FILES = 768
"""Open files reserved for index parts, videos, uploads and decoding, if the limit is high enough."""
MALFORMED = b'{"error":"invalid HTTP request, or its header is too long"}'
MALFORMED_HEADERS = {
    "Content-Type": "application/json",
    "Content-Length": str(len(MALFORMED)),
    "Cache-Control": "no-store",
    "Connection": "close",
}


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of a server's connections.

    Attributes:
        header_s: seconds from the start of a connection, or of a later request, until the header must be complete.
        unread_s: seconds after which a client that reads nothing of its response is disconnected.
        trusted_unread_s: the same for a client with the token; longer, because a paused player reads nothing.
        per_address: most connections without the token per IPv4 address or IPv6 /64 network.
        total: most connections.
    """

    header_s: float = 10.0
    unread_s: float = 10.0
    trusted_unread_s: float = 300.0
    per_address: int = 256
    total: int = 1024


class ConnectionPool:
    """Open connections of a server; only its event loop may use it."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._trusted: set[LimitedProtocol] = set()
        self._anonymous: dict[LimitedProtocol, None] = {}
        self._by_address: defaultdict[str, dict[LimitedProtocol, None]] = defaultdict(dict)

    def add(self, connection: LimitedProtocol) -> None:
        """Add a new connection; over a limit, the oldest one without the token is closed."""
        self._anonymous[connection] = self._by_address[connection.address][connection] = None
        of_address = self._by_address[connection.address]
        if len(of_address) > self.limits.per_address:
            self._close(next(iter(of_address)))
        if len(self._anonymous) + len(self._trusted) > self.limits.total:
            self._close(next(iter(self._anonymous)))

    def trust(self, connection: LimitedProtocol) -> None:
        """Mark a connection as trusted: it is not closed in favor of others."""
        if connection in self._anonymous:
            self.discard(connection)
            self._trusted.add(connection)

    def discard(self, connection: LimitedProtocol) -> None:
        """Remove a connection that has ended."""
        self._trusted.discard(connection)
        self._anonymous.pop(connection, None)
        of_address = self._by_address.get(connection.address, {})
        of_address.pop(connection, None)
        if not of_address:
            self._by_address.pop(connection.address, None)

    def _close(self, connection: LimitedProtocol) -> None:
        self.discard(connection)
        connection.transport.abort()


class LimitedProtocol(H11Protocol):
    """uvicorn's HTTP protocol with :class:`ConnectionLimits`.

    The application's lifespan state must contain the pool (:func:`lifespan_state`).
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)
        self._pool: ConnectionPool = app_state["pool"]
        self._limits = self._pool.limits
        self._unread_s = self._limits.unread_s
        self.address = ""

    def trust(self) -> None:
        """Mark this connection as trusted, after a request with the token."""
        self._unread_s = self._limits.trusted_unread_s
        self._pool.trust(self)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = _network(self.client[0] if self.client else "")
        self._header_since: float | None = self.loop.time()
        self._read_since, self._unread = self.loop.time(), 0
        self._pool.add(self)
        self._schedule_check()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._header_since = None
        elif self._header_since is None:  # the start of a later request, or a body that is not read
            self._header_since = self.loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._read_since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._pool.discard(self)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Respond to invalid HTTP; if it is in the body of a request, end that request."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers = [*SECURITY_HEADERS.items(), *MALFORMED_HEADERS.items()]
            for event in (h11.Response(status_code=400, headers=headers), h11.Data(MALFORMED), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _schedule_check(self) -> None:
        self._timer = self.loop.call_later(min(1.0, self._limits.header_s / 4), self._check_stalled)

    def _check_stalled(self) -> None:
        now, unread = self.loop.time(), self.transport.get_write_buffer_size()
        if unread == 0 or unread < self._unread:
            self._read_since = now
        self._unread = unread
        late = self._header_since is not None and now - self._header_since >= self._limits.header_s
        if late or now - self._read_since >= self._unread_s:
            self.transport.abort()
        else:
            self._schedule_check()


def lifespan_state(limits: ConnectionLimits) -> dict[str, Any]:
    """Lifespan state that :class:`LimitedProtocol` needs."""
    return {"pool": ConnectionPool(limits)}


def trust_connection(scope: Scope) -> None:
    """Mark the connection of an authorized request as trusted."""
    connection = scope.get("state", {}).get("connection")
    if connection is not None:
        connection.trust()


def process_limits() -> ConnectionLimits:
    """Limits for the number of open files that this process may have; raises its soft limit first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    room = MAX_OPEN_FILES if soft == resource.RLIM_INFINITY else soft
    total = min(ConnectionLimits.total, max(room // 2, room - OTHER_FILES))
    return ConnectionLimits(per_address=min(ConnectionLimits.per_address, total * 3 // 4), total=total)


def _network(address: str) -> str:
    """IPv4 address, or the /64 network of an IPv6 address, because one client may own the whole network."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
