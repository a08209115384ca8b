"""Connections to the server: how long each may keep it waiting, and how many may be open that brought no token.

Nobody is asked for a token before a request's header is complete, so what comes before is bounded by itself. Where too
many connections are open, the oldest that brought no token is closed in favor of a new one: whoever holds connections
open cannot keep out others, who may come from the same address (accounts of one machine, people behind one proxy).
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
"""Open files that the process asks for."""
OTHER_FILES = 768
"""Of them for other things than connections, where there are enough: parts of the index, videos, uploads, decoding."""
MALFORMED = b'{"error":"no valid HTTP request, or one whose header is too long"}'
MALFORMED_ABOUT = {
    "Content-Type": "application/json",
    "Content-Length": str(len(MALFORMED)),
    "Cache-Control": "no-store",
    "Connection": "close",
}


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of a server's connections.

    Attributes:
        header_s: seconds from the begin of a connection, or of a later request, until its header is complete.
        unread_s: seconds in which a client takes nothing of what it is sent.
        trusted_unread_s: the same where the token was brought: a player that is paused reads nothing.
        per_address: connections without the token of one address; of IPv6, of one /64.
        total: connections.
    """

    header_s: float = 10.0
    unread_s: float = 10.0
    trusted_unread_s: float = 300.0
    per_address: int = 256
    total: int = 1024


class ConnectionPool:
    """The open connections of a server; used by its event loop alone."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._trusted: set[LimitedProtocol] = set()
        self._anonymous: dict[LimitedProtocol, None] = {}
        self._by_address: defaultdict[str, dict[LimitedProtocol, None]] = defaultdict(dict)

    def add(self, connection: LimitedProtocol) -> None:
        """A new connection, for which another one may have to go."""
        self._anonymous[connection] = self._by_address[connection.address][connection] = None
        of_address = self._by_address[connection.address]
        if len(of_address) > self.limits.per_address:
            self._close(next(iter(of_address)))
        if len(self._anonymous) + len(self._trusted) > self.limits.total:
            self._close(next(iter(self._anonymous)))

    def trust(self, connection: LimitedProtocol) -> None:
        """A connection has brought the token."""
        if connection in self._anonymous:
            self.discard(connection)
            self._trusted.add(connection)

    def discard(self, connection: LimitedProtocol) -> None:
        """A connection has ended."""
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
    """uvicorn's HTTP protocol within :class:`ConnectionLimits`.

    The application's lifespan state must hold the pool (:func:`lifespan_state`).
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
        """A request of this connection has brought the token."""
        self._unread_s = self._limits.trusted_unread_s
        self._pool.trust(self)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = _network(self.client[0] if self.client else "")
        self._header_since: float | None = self.loop.time()
        self._read_since, self._unread = self.loop.time(), 0
        self._pool.add(self)
        self._look_again()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._header_since = None
        elif self._header_since is None:  # the begin of a later request, or a body that nobody reads
            self._header_since = self.loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._read_since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._pool.discard(self)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """The answer to what is no HTTP; a request in whose body that is found has ended."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers = [*SECURITY_HEADERS.items(), *MALFORMED_ABOUT.items()]
            for event in (h11.Response(status_code=400, headers=headers), h11.Data(MALFORMED), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _look_again(self) -> None:
        self._timer = self.loop.call_later(min(1.0, self._limits.header_s / 4), self._look)

    def _look(self) -> None:
        now, unread = self.loop.time(), self.transport.get_write_buffer_size()
        if unread == 0 or unread < self._unread:
            self._read_since = now
        self._unread = unread
        late = self._header_since is not None and now - self._header_since >= self._limits.header_s
        if late or now - self._read_since >= self._unread_s:
            self.transport.abort()
        else:
            self._look_again()


def lifespan_state(limits: ConnectionLimits) -> dict[str, Any]:
    """What an application's lifespan must yield for :class:`LimitedProtocol`."""
    return {"pool": ConnectionPool(limits)}


def trust_connection(scope: Scope) -> None:
    """Note that the request of this scope has brought the token."""
    connection = scope.get("state", {}).get("connection")
    if connection is not None:
        connection.trust()


def process_limits() -> ConnectionLimits:
    """Limits that the open files of this process allow, after more of them have been asked for."""
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
    """An address, or of IPv6 the /64, of which a client may have every one."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
