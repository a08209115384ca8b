"""The search page as a small server: videos are addressed by their row of the index, never by a path."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import uvicorn
from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from vicc_ray.errors import UserError
from vicc_ray.search.film import MEDIA_TYPE
from vicc_ray.search.guard import LOOPBACK_NAMES, Guard
from vicc_ray.search.page import SCRIPT, STYLE, served_page
from vicc_ray.search.query import in_words
from vicc_ray.search.service import Service
from vicc_ray.search.upload import how_to_send, uploaded
from vicc_ray.search.video_folder import NoVideoError
from vicc_ray.search.video_response import VideoResponse
from vicc_ray.video.decode import VideoError

AT_ONCE = 200
"""Requests that are answered at the same time; others are told to come again."""
SHUTDOWN_S = 5
"""Seconds that answers which have begun are given at the end."""
TOLD = (HTTPException, UserError, VideoError, NoVideoError, IndexError, ClientDisconnect)
"""Errors that are answered in words."""
UNCHANGING = {"Cache-Control": "private, max-age=3600"}


@dataclass(frozen=True)
class Access:
    """Who may use the server.

    Attributes:
        token: what every request must bring; None: nothing.
        loopback: whether it listens for this machine alone, which it must then be called by.
        largest: bytes of a video that may be sent.
    """

    token: str | None
    loopback: bool
    largest: int


def create_app(service: Service, access: Access) -> Starlette:
    """The application; its end is that of the service."""
    handlers = _Handlers(service, access)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        service.close()

    guards = [Middleware(Guard, token=access.token)]
    if access.loopback:
        guards.append(Middleware(TrustedHostMiddleware, allowed_hosts=list(LOOPBACK_NAMES), www_redirect=False))
    app = Starlette(
        routes=[
            Route("/", handlers.page),
            Route("/search.js", handlers.script),
            Route("/search.css", handlers.style),
            Route("/api/videos", handlers.videos),
            Route("/api/like/{row:int}", handlers.like),
            Route("/api/ask", handlers.ask, methods=["POST"]),
            Route("/film/{row:int}", handlers.film),
            Route("/video/{row:int}", handlers.video),
        ],
        middleware=guards,
        exception_handlers=dict.fromkeys(TOLD, _told),
        lifespan=lifespan,
    )
    app.state.time_limit_s = service.time_limit_s
    return app


def serve(app: Starlette, listening: socket.socket) -> None:
    """Answer requests until the process is told to end.

    In a thread, where uvicorn leaves the process's handlers of signals alone.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # addresses hold the token once
        server_header=False,
        limit_concurrency=AT_ONCE,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    server, threads = uvicorn.Server(config), ThreadPoolExecutor(1)
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


class _Handlers:
    def __init__(self, service: Service, access: Access) -> None:
        self._service, self._access = service, access
        self._decoding = CapacityLimiter(service.cores)

    async def page(self, request: Request) -> Response:
        index = await to_thread.run_sync(lambda: self._service.index)
        return HTMLResponse(served_page(index, self._access.largest))

    async def script(self, request: Request) -> Response:
        return Response(SCRIPT, media_type="text/javascript")

    async def style(self, request: Request) -> Response:
        return Response(STYLE, media_type="text/css")

    async def videos(self, request: Request) -> Response:
        return await _json(self._service.some, request.query_params.get("named", "")[:200])

    async def like(self, request: Request) -> Response:
        return await _json(self._service.like, *_video_of(request))

    async def ask(self, request: Request) -> Response:
        name = unquote(request.headers.get("x-file-name", ""))[:200] or "your video"
        async with uploaded(request, self._access.largest) as path:
            with path.open("rb") as file:
                return JSONResponse(await to_thread.run_sync(self._service.ask, file, name, limiter=self._decoding))

    async def film(self, request: Request) -> Response:
        film = await to_thread.run_sync(self._service.film, *_video_of(request))
        return Response(film, media_type=MEDIA_TYPE, headers=UNCHANGING)

    async def video(self, request: Request) -> Response:
        return VideoResponse(*await to_thread.run_sync(self._service.open_video, *_video_of(request)))


def _video_of(request: Request) -> tuple[int, str | None]:
    """The row and, where the page says it, the id."""
    return request.path_params["row"], request.query_params.get("id")


async def _json(call: Callable[..., dict[str, Any]], *arguments: Any) -> Response:
    return JSONResponse(await to_thread.run_sync(call, *arguments))


async def _told(request: Request, error: Exception) -> Response:
    """Errors as JSON, in words."""
    if isinstance(error, HTTPException):
        lost = error.status_code in (404, 405) and request.method not in ("GET", "HEAD")
        hint = f"; to search with a video, {how_to_send(request)}" if lost else ""
        return JSONResponse({"error": error.detail + hint}, error.status_code)
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)  # nobody reads it
    if isinstance(error, IndexError):
        return JSONResponse({"error": "no video of this number in the index"}, 404)
    if isinstance(error, NoVideoError):
        return JSONResponse({"error": str(error)}, 404)
    if isinstance(error, VideoError):
        limit_s = request.app.state.time_limit_s
        return JSONResponse({"error": f"cannot be searched with: {in_words(error, limit_s)}{_stripped(request)}"}, 422)
    return JSONResponse({"error": str(error)}, 500)


def _stripped(request: Request) -> str:
    """A hint where the body may have lost bytes: ``curl -d`` takes out what it thinks are ends of lines."""
    form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    return "; with curl, send it by --data-binary, since -d changes bytes" if form else ""
