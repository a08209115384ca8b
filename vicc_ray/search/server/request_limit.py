"""Limit for concurrent requests."""

from __future__ import annotations

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

RETRY_AFTER_S = 2
"""Retry delay for clients."""


class RequestLimit:
    """ASGI middleware that answers 503 while ``most`` requests are in progress."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._left = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._left:
            self._left -= 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._left += 1
        else:
            text = "too many requests at once; try again in a moment"
            headers = {"Connection": "close", "Retry-After": str(RETRY_AFTER_S)}
            await JSONResponse({"error": text}, 503, headers)(scope, receive, send)
