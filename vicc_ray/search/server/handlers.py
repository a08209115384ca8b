"""HTTP handlers. Videos are addressed by their row in the index, never by a path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from anyio import CapacityLimiter, to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vicc_ray.search.html import SCRIPT, STYLE, served_page
from vicc_ray.search.server.api import Service
from vicc_ray.search.server.responses import Html, Json
from vicc_ray.search.server.upload import uploaded
from vicc_ray.search.server.upload_space import UploadSpace
from vicc_ray.search.server.video_response import VideoResponse
from vicc_ray.search.thumbnail import MEDIA_TYPE

UNCHANGING = {"Cache-Control": "private, max-age=3600"}
MAX_DIGITS = 18
"""Most digits of a row number."""


class Handlers:
    """HTTP handlers of a search service.

    Args:
        largest: upload limit in bytes.
        space: space for uploads.
    """

    def __init__(self, service: Service, largest: int, space: UploadSpace) -> None:
        self._service, self._largest, self._space = service, largest, space
        self._decoding = CapacityLimiter(service.cores)

    def routes(self) -> list[Route]:
        """URL routes."""
        return [
            Route("/", self._page),
            Route("/search.js", self._script),
            Route("/search.css", self._style),
            Route("/api/videos", self._videos),
            Route("/api/neighbors/{row}", self._neighbors),
            Route("/api/query", self._query, methods=["POST"]),
            Route("/thumbnail/{row}", self._thumbnail),
            Route("/video/{row}", self._video),
        ]

    async def _page(self, request: Request) -> Response:
        index = await to_thread.run_sync(lambda: self._service.index)
        return Html(served_page(index, self._largest))

    async def _script(self, request: Request) -> Response:
        return Response(SCRIPT, media_type="text/javascript")

    async def _style(self, request: Request) -> Response:
        return Response(STYLE, media_type="text/css")

    async def _videos(self, request: Request) -> Response:
        return await _json(self._service.sample, request.query_params.get("named", "")[:200])

    async def _neighbors(self, request: Request) -> Response:
        return await _json(self._service.neighbors, *_video_of(request))

    async def _query(self, request: Request) -> Response:
        name = unquote(request.headers.get("x-file-name", ""))[:200] or "your video"
        async with uploaded(request, self._largest, self._space) as file:
            return Json(await to_thread.run_sync(self._service.query_file, file, name, limiter=self._decoding))

    async def _thumbnail(self, request: Request) -> Response:
        thumbnail = await to_thread.run_sync(self._service.thumbnail, *_video_of(request))
        return Response(thumbnail, media_type=MEDIA_TYPE, headers=UNCHANGING)

    async def _video(self, request: Request) -> Response:
        return VideoResponse(*await to_thread.run_sync(self._service.open_video, *_video_of(request)))


def _video_of(request: Request) -> tuple[int, str | None]:
    """Row and, if the page sends it, the id of the requested video."""
    row = request.path_params["row"]
    if not (row.isascii() and row.isdigit()):
        raise HTTPException(404)
    if len(row) > MAX_DIGITS:
        raise IndexError(row)
    return int(row), request.query_params.get("id")


async def _json(call: Callable[..., dict[str, Any]], *arguments: Any) -> Response:
    return Json(await to_thread.run_sync(call, *arguments))
