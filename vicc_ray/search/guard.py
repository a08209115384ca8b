"""Who may ask the server what: the token, requests that other sites have a browser send, and headers for answers."""

from __future__ import annotations

import ipaddress
import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1", "[::1]")
"""What a browser may call this machine. Another name that leads here is that of a site which wants to be taken for
this one (DNS rebinding)."""
COOKIE = "vicc_ray_token"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """Middleware that answers in the place of the application where a request may not come through.

    Args:
        token: what every request must bring, as ``?token=``, which becomes a cookie, or as ``Authorization: Bearer``;
            None: nothing.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = self._answer(scope)
        await (answer or self._app)(scope, receive, send_with_headers)

    def _answer(self, scope: Scope) -> Response | None:
        """What to answer in the application's place."""
        headers = Headers(scope=scope)
        if self._token is not None:
            given = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("token")
            if given is not None and self._is_right(given):
                return self._let_in()
            if not self._is_right(_bearer(headers) or _cookie(headers)):
                return _refusal(401, "open the link that `vicc-ray serve` printed: it has the token")
        if scope["method"] not in ("GET", "HEAD") and not _same_site(headers):
            return _refusal(403, "another site sent this request")
        return None

    def _let_in(self) -> Response:
        """Keep the token in a cookie, and take it out of the address, which people copy."""
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, self._token or "", httponly=True, samesite="strict")
        return answer

    def _is_right(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), (self._token or "").encode())


def _refusal(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status)


def _bearer(headers: Headers) -> str:
    kind, _, given = headers.get("authorization", "").partition(" ")
    return given.strip() if kind.lower() == "bearer" else ""


def _cookie(headers: Headers) -> str:
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def _same_site(headers: Headers) -> bool:
    """Whether a request that changes or costs something comes from the page itself, or from no page (curl)."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")
