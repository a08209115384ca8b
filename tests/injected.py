"""Pages of ours into which somebody has got HTML after all: their policy has it do nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.search.browser import Tab

INJECTED = """
<script>document.body.dataset.ran = "script"</script>
<script src="ADDRESS/script.js"></script>
<img src=x onerror="document.body.dataset.ran = 'handler'">
<svg onload="document.body.dataset.ran = 'svg'"></svg>
<details open ontoggle="document.body.dataset.ran = 'toggle'"><summary>a</summary></details>
<img src="ADDRESS/image.png"><video src="ADDRESS/video.mp4" autoplay></video>
<iframe src="ADDRESS/frame.html"></iframe>
<iframe srcdoc="<script>parent.document.body.dataset.ran = 1</script>"></iframe>
<object data="ADDRESS/object.html"></object><embed src="ADDRESS/embed.html">
<link rel="stylesheet" href="ADDRESS/style.css"><link rel="prefetch" href="ADDRESS/prefetch">
<style>body{outline:7px solid red;background:url(ADDRESS/background.png)}</style>
<p style="background:url(ADDRESS/attribute.png)">a</p>
<form action="ADDRESS/form" id="stolen"><input name="a" value="b"></form>
<a id="link" href="javascript:document.body.dataset.ran = 'link'">a</a>
<base href="ADDRESS/">
"""
"""What ADDRESS is asked for, or what marks the page, has had an effect."""


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """Another site: its address, and what it is asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *about: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()


def check_inert(tab: Tab, page: Path) -> None:
    """See that a page is quiet as it is, and that what is put into it does nothing."""
    tab.problems.clear()
    tab.requests.clear()
    tab.page.goto(page.as_uri())
    assert tab.problems == []
    assert [address for address in tab.requests if not address.startswith(("data:", "file:"))] == []
    assert tab.page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgba(0, 0, 0, 0)", "its own style"
    with listening() as (address, asked):
        text = page.read_text("utf-8")
        assert "</header>" in text
        copy = page.with_name("injected.html")
        copy.write_text(text.replace("</header>", f"</header>{INJECTED.replace('ADDRESS', address)}", 1), "utf-8")
        tab.page.goto(copy.as_uri())
        tab.page.evaluate("document.getElementById('link').click()")
        tab.page.evaluate("document.getElementById('stolen').submit()")
        tab.page.wait_for_load_state("networkidle")
        assert tab.page.locator("#link").count() == 1
        assert tab.page.evaluate("document.body.dataset.ran") is None
        assert tab.page.evaluate("getComputedStyle(document.body).outlineStyle") == "none"
        assert asked == []
    assert tab.problems, "the browser tells what it has refused"
    tab.problems.clear()
