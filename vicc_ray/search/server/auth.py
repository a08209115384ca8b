"""Who may ask the server what: the token, requests that other sites have a browser send, and headers for answers."""

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

NO_TOKEN = "this server answers those who have its link: open the one that `vicc-ray serve` printed, with its token"
WRONG_TOKEN = (
    "this is not the token that the server has now: a server that is started again has another one; open the link that "
    "`vicc-ray serve` printed last"
)
CLOSED = {"Connection": "close"}
"""A body that may follow is not waited for."""


class AccessGuard:
    """An application that asks another one only what may come through.

    Args:
        token: what every request must bring, as ``?token=``, which becomes a cookie, or as ``Authorization: Bearer``;
            None: nothing.
        loopback: whether it must be called by a name of this machine alone.
    """

    def __init__(self, app: ASGIApp, token: str | None, loopback: bool) -> None:
        self._app, self._token, self._loopback = app, token, loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await (self._answer(scope) or self._app)(scope, receive, _with_headers(send))

    def _answer(self, scope: Scope) -> Response | None:
        """What to answer in the application's place."""
        headers = Headers(scope=scope)
        if self._loopback and not is_loopback_header(headers.get("host", "")):
            return _refusal(headers, 400, "this server listens for its own machine: call it localhost or 127.0.0.1")
        if self._token is not None:
            given = list(_given_tokens(scope, headers))
            if not any(map(self._is_right, given)):
                return _refusal(headers, 401, WRONG_TOKEN if given else NO_TOKEN)
        reads = scope["method"] in ("GET", "HEAD")
        if not (_may_read(headers) if reads else _same_site(headers)):
            return _refusal(headers, 403, "another site sent this request")
        trust_connection(scope)
        if self._token is not None and reads and _tokens_of_query(scope):
            return self._let_in(scope, headers)
        return None

    def _let_in(self, scope: Scope, headers: Headers) -> Response:
        """Keep the token in a cookie, and take it out of the address, which people copy.

        The cookie is sent where another site has the link opened too (lax): nothing is changed by opening.
        """
        rest = [part for part in _parts_of_query(scope) if unquote_plus(part.partition("=")[0]) != "token"]
        place = "/" + quote(scope["path"].lstrip("/"))  # two slashes would begin the name of another host
        answer = RedirectResponse("?".join(filter(None, (place, "&".join(rest)))), 303)
        secure = headers.get("x-forwarded-proto", "").lower() == "https"
        answer.set_cookie(cookie_name(scope), self._token or "", httponly=True, samesite="lax", secure=secure)
        return answer

    def _is_right(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), (self._token or "").encode())


def cookie_name(scope: Scope) -> str:
    """The name of the cookie that holds the token.

    Browsers give a host's cookies to all its ports: servers on one host are told apart by the port, as the browser
    calls it, which is not the server's own where a tunnel leads there.
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
    """In HTML for who opens a page, as JSON for others."""
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
    """Whether a request that reads comes from the page itself, from no page, or from a link to the page elsewhere."""
    opened = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest", "document") == "document"
    return headers.get("sec-fetch-site", "none") in ("same-origin", "none") or opened


def _same_site(headers: Headers) -> bool:
    """Whether a request that changes or costs something comes from the page itself, or from no page (curl).

    Browsers say so, and behind a proxy, which may call the server by another name than they do, they alone know. Of one
    that does not, the address of the page must be that which the server is called by.
    """
    said = headers.get("sec-fetch-site")
    if said is not None:
        return said in ("same-origin", "none")
    origin = headers.get("origin")
    try:
        return origin is None or urlsplit(origin).netloc == headers.get("host")
    except ValueError:  # no address
        return False
