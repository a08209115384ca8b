"""Access control: the token, host names, and cross-site requests."""

from __future__ import annotations

from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path

import pytest

from tests.search.serving import Served, served
from vicc_ray.search.server.loopback import is_loopback, is_loopback_header

TOKEN = "t" * 43
HTML = "text/html,application/xhtml+xml,*/*;q=0.8"


@pytest.fixture(scope="module")
def server(index_folder: Path) -> Iterator[Served]:
    """Server on loopback with a token."""
    with served(index_folder, TOKEN) as running:
        yield running


@pytest.fixture(scope="module")
def open_server(index_folder: Path) -> Iterator[Served]:
    """Server on loopback without a token."""
    with served(index_folder) as running:
        yield running


def let_in(server: Served, path: str = f"/?token={TOKEN}", **headers: str) -> tuple[str, SimpleCookie]:
    """Location of the redirect, and its cookie."""
    answer = server.request(path, **headers)
    assert answer.status == 303
    return answer.headers["location"], SimpleCookie(answer.headers["set-cookie"])


def as_header(cookie: SimpleCookie) -> str:
    return "; ".join(f"{name}={morsel.value}" for name, morsel in cookie.items())


def test_requests_without_the_token_are_refused(server: Served) -> None:
    for path in ("/", "/search.js", "/api/videos", "/thumbnail/0", "/video/0", "/?token=wrong", "/?token=", "/nothing"):
        assert server.request(path).status == 401
        assert server.request(path, Host="localhost", X_Forwarded_For="127.0.0.1").status == 401  # as a proxy may send
    assert server.request("/api/query", "POST", b"x").status == 401
    assert server.request("/api/query", "POST", b"x", Sec_Fetch_Site="same-origin").status == 401
    name = next(iter(let_in(server)[1]))
    assert server.request("/", Cookie=f"{name}=wrong").status == 401
    assert server.request("/", Authorization="Bearer wrong").status == 401
    assert server.request("/", Authorization=f"Basic {TOKEN}").status == 401


def test_the_link_sets_a_cookie_and_redirects_without_the_token(server: Served) -> None:
    place, cookie = let_in(server)
    assert place == "/"
    (morsel,) = cookie.values()
    assert (morsel["httponly"], morsel["samesite"], morsel["secure"]) == (True, "lax", "")
    assert server.request("/", Cookie=as_header(cookie)).status == 200
    assert server.request("/api/videos", Authorization=f"Bearer {TOKEN}").status == 200
    assert let_in(server, f"/?token={TOKEN}", X_Forwarded_Proto="https")[1].popitem()[1]["secure"]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (f"/video/3?id=a%26b&token={TOKEN}&x=1", "/video/3?id=a%26b&x=1"),
        (f"/?%74oken={TOKEN}", "/"),
        (f"/?token={TOKEN}&token=another", "/"),
        (f"//evil.example/?token={TOKEN}", "/evil.example/"),
        (f"/%2fevil.example/?token={TOKEN}", "/evil.example/"),
        (f"/%5Cevil.example/?token={TOKEN}", "/%5Cevil.example/"),
        (f"/%0d%0aX:y?token={TOKEN}", "/%0D%0AX%3Ay"),
    ],
)
def test_the_link_redirects_only_within_this_server(server: Served, path: str, place: str) -> None:
    assert let_in(server, path)[0] == place


@pytest.mark.slow
def test_an_upload_may_have_the_token_in_its_url(server: Served) -> None:
    assert server.request(f"/api/query?token={TOKEN}", "POST", b"no video").status == 422


def test_cookies_of_other_servers_on_this_host_are_ignored(server: Served) -> None:
    (name, morsel), *_ = let_in(server)[1].items()
    assert str(server.port) in name
    for other in ('a={"x":1}', "=", "a b=c;;", f"{name}=old", f'{name}="{TOKEN}', "vicc_ray_token_1=x"):
        assert server.request("/", Cookie=f"{other}; {name}={morsel.value}").status == 200


def test_cookies_are_named_by_the_port_that_the_browser_uses(server: Served) -> None:
    names = {next(iter(let_in(server, Host=f"localhost:{port}")[1])) for port in (8001, 8002)}
    assert len(names) == 2


def test_a_refusal_without_the_token_explains_what_to_do(server: Served) -> None:
    missing, wrong = server.request("/", Accept=HTML), server.request("/?token=old", Accept=HTML)
    for answer in (missing, wrong):
        assert answer.status == 401
        assert answer.headers["content-type"].startswith("text/html")
        assert b"vicc-ray serve" in answer.body
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert missing.body != wrong.body
    assert "vicc-ray serve" in server.request("/api/videos").json["error"]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "LOCALHOST", "localhost.", "localhost.:80", "127.0.0.2", "127.1.2.3:8000", "[::1]",
     "[::1]:8000", "[0:0:0:0:0:0:0:1]:1", "[::ffff:127.0.0.1]", "127.0.0.1:"],
)  # fmt: skip
def test_all_loopback_host_names_are_accepted(open_server: Served, host: str) -> None:
    assert open_server.request("/api/videos", Host=host).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "", "0.0.0.0", "::1",
     "[::1", "[::1]x", "[::]", "localhost..", "localhost:80:80", "localhost:x", "user@localhost", "[localhost]x:1",
     "128.0.0.1", "192.168.0.1", "\xb9\xb2\xb7.0.0.1", "127.0.0.1, evil.example"],
)  # fmt: skip
def test_other_host_names_are_refused_on_loopback(open_server: Served, host: str) -> None:
    assert open_server.request("/api/videos", Host=host).status == 400


@pytest.mark.slow
def test_a_public_server_accepts_any_host_name(index_folder: Path) -> None:
    with served(index_folder, TOKEN, loopback=False) as server:
        assert server.request("/", Host="some.name", Authorization=f"Bearer {TOKEN}").status == 200


def test_loopback_addresses_are_recognized() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "localhost", "::1", "127.1.2.3", "127.0.0.2", "::ffff:127.0.0.1")))
    others = ("0.0.0.0", "::", "192.168.0.1", "example.org", "127.0.0.1.example.org", "", "::ffff:10.0.0.1")
    assert not any(map(is_loopback, others))
    assert not any(map(is_loopback_header, ("", ":80", "[]")))


def test_cross_site_posts_are_refused(open_server: Served, videos: Path) -> None:
    body = (videos / "b/up.mp4").read_bytes()
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": f"http://127.0.0.1:{open_server.port + 1}"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "same-site", "Origin": f"http://127.0.0.1:{open_server.port}"},
    ):
        assert open_server.request("/api/query", "POST", body, **headers).status == 403
    own = {"Origin": f"http://127.0.0.1:{open_server.port}", "Sec_Fetch_Site": "same-origin"}
    assert open_server.request("/api/query", "POST", body, **own).status == 200
    behind_a_proxy = {"Origin": "https://search.example.org", "Sec_Fetch_Site": "same-origin", "Host": "localhost"}
    assert open_server.request("/api/query", "POST", body, **behind_a_proxy).status == 200


@pytest.mark.parametrize("path", ["/api/neighbors/0", "/thumbnail/0", "/video/0", "/"])
def test_cross_site_embedding_is_refused_but_links_work(path: str, open_server: Served) -> None:
    for site in ("cross-site", "same-site"):
        for mode, kind in (("no-cors", "video"), ("cors", "empty"), ("navigate", "iframe")):
            headers = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": mode, "Sec_Fetch_Dest": kind}
            assert open_server.request(path, **headers).status == 403
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert open_server.request(path, **link).status == 200
