"""The search page as a small server."""

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
"""Bytes on the disk of all videos that are received or looked at."""
ACCEPTED, QUEUED = 16, 4096
"""Connections that are accepted in one phase of the event loop, and that wait for it. A request that has come is read a
few phases later, before so many other connections that its own would have to go for them."""
SHUTDOWN_S = 5
"""Seconds that answers which have begun are given at the end."""


@dataclass(frozen=True)
class ServerPolicy:
    """Who may use the server, and how much of it.

    Attributes:
        token: what every request must bring; None: nothing.
        loopback: whether it listens for this machine alone, which it must then be called by.
        largest: bytes of a video that may be sent.
        max_uploads: videos that are received or looked at at once; others are told to come again.
        max_requests: the same of requests.
    """

    token: str | None
    loopback: bool
    largest: int
    max_uploads: int = 16
    max_requests: int = 200


def create_app(service: Service, access: ServerPolicy, limits: ConnectionLimits) -> ASGIApp:
    """The application for :func:`create_server`; its end is that of the service."""

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
    app.router.redirect_slashes = False  # to an address of whatever name the request calls the server by
    app.state.timeout_s = service.timeout_s
    return AccessGuard(app, access.token, access.loopback)


def create_server(app: ASGIApp) -> uvicorn.Server:
    """What answers for the application once it is run."""
    config = uvicorn.Config(
        app,
        http=LimitedProtocol,
        ws="none",
        lifespan="on",
        backlog=ACCEPTED,
        proxy_headers=False,
        log_level="error",  # what is no HTTP is a warning, and anyone can send it
        access_log=False,  # addresses hold the token once
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    return _Server(config)


def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Answer requests until the process is told to end.

    In a thread, where uvicorn leaves the process's handlers of signals alone.
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
    """A socket that waits for requests; ``port`` 0 takes any that is free.

    Raises:
        UserError: the address cannot be had.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror or error).partition(" (while")[0]
        raise UserError(
            f"--host {host} --port {port}: {reason}; choose another port (0 takes any that is free), "
            "or an address of this machine"
        ) from None


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin, with a queue that is longer than what is taken from it at once: to asyncio they are one number."""
        await super().startup(sockets)
        for listening in sockets or []:
            listening.listen(QUEUED)
