"""Authentication by token, protection against cross-site requests, and security headers."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from html import escape
from urllib.parse import parse_qsl, quote, unquote_plus, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vicc_ray.search.server.connections import trust_connection
from vicc_ray.search.server.loopback import is_loopback_header
from vicc_ray.search.server.security_headers import SECURITY_HEADERS

NO_TOKEN = "this server requires a token; open the link that `vicc-ray serve` printed"
WRONG_TOKEN = (
    "wrong token, perhaps from an earlier start of the server; open the link that `vicc-ray serve` printed last"
)
CLOSED = {"Connection": "close"}
"""Refusals close the connection instead of waiting for a body."""


class AccessGuard:
    """ASGI middleware that forwards only authorized requests.

    Args:
        token: required token, sent as ``?token=`` (then kept in a cookie) or as ``Authorization: Bearer``; None
            disables the check.
        loopback: whether the Host header must name the loopback interface.
    """

    def __init__(self, app: ASGIApp, token: str | None, loopback: bool) -> None:
        self._app, self._token, self._loopback = app, token, loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await (self._answer(scope) or self._app)(scope, receive, _with_headers(send))

    def _answer(self, scope: Scope) -> Response | None:
        """Response in place of the application's; None to forward the request."""
        headers = Headers(scope=scope)
        if self._loopback and not is_loopback_header(headers.get("host", "")):
            return _refusal(headers, 400, "this server only serves its own machine; use localhost or 127.0.0.1")
        if self._token is not None:
            given = list(_given_tokens(scope, headers))
            if not any(map(self._is_right, given)):
                return _refusal(headers, 401, WRONG_TOKEN if given else NO_TOKEN)
        reads = scope["method"] in ("GET", "HEAD")
        if not (_may_read(headers) if reads else _same_site(headers)):
            return _refusal(headers, 403, "cross-site request refused")
        trust_connection(scope)
        if self._token is not None and reads and _tokens_of_query(scope):
            return self._let_in(scope, headers)
        return None

    def _let_in(self, scope: Scope, headers: Headers) -> Response:
        """Redirect that stores the token in a cookie and removes it from the URL, which people copy.

        SameSite is lax: links on other sites work, and a GET changes nothing.
        """
        rest = [part for part in _parts_of_query(scope) if unquote_plus(part.partition("=")[0]) != "token"]
        place = "/" + quote(scope["path"].lstrip("/"))  # two slashes would start a host name
        answer = RedirectResponse("?".join(filter(None, (place, "&".join(rest)))), 303)
        secure = headers.get("x-forwarded-proto", "").lower() == "https"
        answer.set_cookie(cookie_name(scope), self._token or "", httponly=True, samesite="lax", secure=secure)
        return answer

    def _is_right(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), (self._token or "").encode())


def cookie_name(scope: Scope) -> str:
    """Name of the cookie with the token.

    Browsers share cookies between all ports of a host, so the name contains the port. It is the port the browser uses,
    which differs from the server's own behind a tunnel.
    """
    called = Headers(scope=scope).get("host", "").rpartition(":")[2]
    port = called if called.isascii() and called.isdigit() and len(called) <= 5 else (scope.get("server") or ("", 0))[1]
    return f"vicc_ray_token_{port}"


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return send_with_headers


def _refusal(headers: Headers, status: int, text: str) -> Response:
    """Refusal as HTML for browsers, as JSON for others."""
    about = {**CLOSED, "WWW-Authenticate": "Bearer"} if status == 401 else CLOSED
    if "text/html" not in headers.get("accept", ""):
        return JSONResponse({"error": text}, status, about)
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>vicc-ray search</title><p>{escape(text)}.</p>'
    return HTMLResponse(page, status, about)


def _given_tokens(scope: Scope, headers: Headers) -> Iterator[str]:
    yield from _tokens_of_query(scope)
    kind, _, given = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        yield given.strip()
    name = cookie_name(scope)
    for cookie in ";".join(headers.getlist("cookie")).split(";"):
        key, _, value = cookie.strip().partition("=")
        if key == name:
            yield value


def _parts_of_query(scope: Scope) -> list[str]:
    return [part for part in scope["query_string"].decode("latin-1").split("&") if part]


def _tokens_of_query(scope: Scope) -> list[str]:
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return [value for name, value in pairs if name == "token"]


def _may_read(headers: Headers) -> bool:
    """Whether a read request comes from the page itself, from no page, or from following a link."""
    opened = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest", "document") == "document"
    return headers.get("sec-fetch-site", "none") in ("same-origin", "none") or opened


def _same_site(headers: Headers) -> bool:
    """Whether a POST request comes from the page itself, or from no page (curl).

    ``Sec-Fetch-Site`` decides if the browser sends it; it is right behind a proxy that changes the Host header, too.
    Otherwise ``Origin`` must match ``Host``.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    try:
        return origin is None or urlsplit(origin).netloc == headers.get("host")
    except ValueError:  # not a URL
        return False
