"""Search server: the ASGI application, its listening socket, and the uvicorn server."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from vicc_ray.errors import UserError
from vicc_ray.search.server.api import Service
from vicc_ray.search.server.auth import AccessGuard
from vicc_ray.search.server.connections import ConnectionLimits, LimitedProtocol, lifespan_state
from vicc_ray.search.server.handlers import Handlers
from vicc_ray.search.server.request_limit import RequestLimit
from vicc_ray.search.server.responses import EXPECTED, error_answer
from vicc_ray.search.server.upload_space import UploadSpace

MAX_UPLOADED = 2 * 2**30
"""Most bytes on disk of all concurrent uploads."""
ACCEPTED, QUEUED = 16, 4096
"""Connections accepted per iteration of the event loop, and connections that may wait to be accepted. Few are accepted
at once, so that a request is read before many later connections can evict its own."""
SHUTDOWN_S = 5
"""Seconds that responses in progress get to finish at shutdown."""


@dataclass(frozen=True)
class ServerPolicy:
    """Access control and request limits of the server.

    Attributes:
        token: token that every request needs; None: no token.
        loopback: whether the server listens on loopback only; requests must then name a loopback host.
        largest: upload limit in bytes.
        max_uploads: most concurrent uploads, received or processed; more get status 503.
        max_requests: most concurrent requests; more get status 503.
    """

    token: str | None
    loopback: bool
    largest: int
    max_uploads: int = 16
    max_requests: int = 200


def create_app(service: Service, access: ServerPolicy, limits: ConnectionLimits) -> ASGIApp:
    """ASGI application for :func:`create_server`; its shutdown closes the service."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        yield lifespan_state(limits)
        service.close()

    space = UploadSpace(access.max_uploads, max(MAX_UPLOADED, access.largest))
    app = Starlette(
        routes=Handlers(service, access.largest, space).routes(),
        middleware=[Middleware(RequestLimit, most=access.max_requests)],
        exception_handlers=dict.fromkeys((*EXPECTED, Exception), error_answer),
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a redirect would go to the host that the request names
    app.state.timeout_s = service.timeout_s
    return AccessGuard(app, access.token, access.loopback)


def create_server(app: ASGIApp) -> uvicorn.Server:
    """HTTP server of the application, not started yet."""
    config = uvicorn.Config(
        app,
        http=LimitedProtocol,
        ws="none",
        lifespan="on",
        backlog=ACCEPTED,
        proxy_headers=False,
        log_level="error",  # invalid HTTP logs a warning, and anyone can send it
        access_log=False,  # the first URL contains the token
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    return _Server(config)


def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Serve requests until the process is interrupted.

    The server runs in a thread, where uvicorn does not replace the signal handlers of the process.
    """
    server, threads = create_server(app), ThreadPoolExecutor(1)
    answering = threads.submit(server.run, sockets=[listening])
    try:
        answering.result()
    finally:
        server.should_exit = True
        wait([answering], 2 * SHUTDOWN_S)
        threads.shutdown(wait=False)


def listen(host: str, port: int) -> socket.socket:
    """Listening socket; ``port`` 0: any free port.

    Raises:
        UserError: the port is in use, or the address is not one of this machine.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror or error).partition(" (while")[0]
        raise UserError(
            f"--host {host} --port {port}: {reason}; choose another port (0: any free port), "
            "or an address of this machine"
        ) from None


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and lengthen the queue of connections: asyncio uses one number for both (:data:`ACCEPTED`)."""
        await super().startup(sockets)
        for listening in sockets or []:
            listening.listen(QUEUED)
