"""Answers of the server in JSON and HTML, and errors in words."""

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
"""Errors that the request is to blame for, or that say what to do."""


class Json(JSONResponse):
    """JSON with escapes for all but ASCII: a terminal that shows it obeys no name, and any byte of a path has its."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


class Html(HTMLResponse):
    """HTML in which a byte of a path that is not UTF-8 is a question mark."""

    def render(self, content: Any) -> bytes:
        return str(content).encode("utf-8", "replace")


async def error_answer(request: Request, error: Exception) -> Response:
    """An error in words."""
    if isinstance(error, HTTPException):
        lost = error.status_code in (404, 405) and request.method not in ("GET", "HEAD")
        hint = f"; to search with a video, {how_to_send(request)}" if lost else ""
        return Json({"error": error.detail + hint}, error.status_code, error.headers)
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)  # nobody reads it
    if isinstance(error, IndexError):
        return Json({"error": "no video of this number in the index"}, 404)
    if isinstance(error, NoVideoError):
        return Json({"error": str(error)}, 404)
    if isinstance(error, VideoError):
        limit_s = request.app.state.timeout_s
        return Json({"error": f"cannot be searched with: {error_text(error, limit_s)}{_stripped(request)}"}, 422)
    if isinstance(error, UserError):
        return Json({"error": str(error)}, 500)
    return Json({"error": "the server failed at this request; what it has printed says where"}, 500)


def _stripped(request: Request) -> str:
    """A hint where the body may have lost bytes: ``curl -d`` takes out what it thinks are ends of lines."""
    form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    return "; with curl, send it by --data-binary, since -d changes bytes" if form else ""
