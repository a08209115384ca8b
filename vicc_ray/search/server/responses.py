"""JSON, HTML and error responses."""

from __future__ import annotations

import json
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from vicc_ray.errors import UserError
from vicc_ray.search.query import error_text
from vicc_ray.search.server.upload import how_to_send
from vicc_ray.search.video_folder import NoVideoError
from vicc_ray.video.decode import VideoError

EXPECTED = (HTTPException, UserError, VideoError, NoVideoError, IndexError, ClientDisconnect)
"""Errors that the request caused, or whose message tells the user what to do."""


class Json(JSONResponse):
    """ASCII-only JSON: names cannot control a terminal, and undecodable bytes of a path survive."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


class Html(HTMLResponse):
    """HTML that replaces undecodable bytes of a path with question marks."""

    def render(self, content: Any) -> bytes:
        return str(content).encode("utf-8", "replace")


async def error_answer(request: Request, error: Exception) -> Response:
    """Response for an error."""
    if isinstance(error, HTTPException):
        lost = error.status_code in (404, 405) and request.method not in ("GET", "HEAD")
        hint = f"; to search with a video, {how_to_send(request)}" if lost else ""
        return Json({"error": error.detail + hint}, error.status_code, error.headers)
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)  # the client is gone
    if isinstance(error, IndexError):
        return Json({"error": "the index has no such video"}, 404)
    if isinstance(error, NoVideoError):
        return Json({"error": str(error)}, 404)
    if isinstance(error, VideoError):
        limit_s = request.app.state.timeout_s
        return Json({"error": f"cannot be used as a query: {error_text(error, limit_s)}{_stripped(request)}"}, 422)
    if isinstance(error, UserError):
        return Json({"error": str(error)}, 500)
    return Json({"error": "internal error; see the output of the server"}, 500)


def _stripped(request: Request) -> str:
    """Hint for a body that may have lost bytes: ``curl -d`` strips line ends."""
    form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    return "; with curl, use --data-binary, because -d changes bytes" if form else ""
