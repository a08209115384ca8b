"""Report check in a headless browser: screenshots at desktop and phone width, light and dark, and layout checks.

    python benchmarks/look_at_report.py RUN/report/report.html OUT

writes OUT/<width>-<scheme>.png, and exits with code 1 if the page scrolls sideways, requests anything over a network,
logs an error to the console, or has text wider than its box. It drives an installed Chromium over its DevTools protocol
and needs no other package.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-port=0",
)  # fmt: skip
MAX_HEIGHT = 16_000  # pixels; above that, Chromium repeats the image
WIDER_THAN_PAGE = """
(() => [...document.body.querySelectorAll('*')].filter(e => !e.closest('.scroll') && !e.closest('svg')
  && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.className || e.tagName))()
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--height", type=int, default=MAX_HEIGHT, help="of the screenshots (default: whole page)")
    options = parser.parse_args()
    binary = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if binary is None:
        print(f"error: no browser found; install one of {', '.join(BROWSERS)}", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [binary, *FLAGS, f"--user-data-dir={profile}", "about:blank"], stderr=subprocess.PIPE, text=True
        )
        try:
            problems = check_page(
                Tab(debugging_port(process)), options.page.resolve().as_uri(), options.out, options.height
            )
        finally:
            process.terminate()
            process.wait()
    for problem in problems:
        print(f"problem: {problem}", file=sys.stderr)
    print(f"{len(problems)} problems; screenshots are in {options.out}")
    return 1 if problems else 0


def check_page(tab: Tab, address: str, out: Path, max_height: int) -> list[str]:
    """Load the page in every width and color scheme, take a screenshot, and collect problems."""
    problems: list[str] = []
    for domain in ("Page", "Runtime", "Log", "Network"):
        tab.call(f"{domain}.enable")
    for width in WIDTHS:
        for scheme in SCHEMES:
            tab.events.clear()
            tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
            tab.call("Emulation.setDeviceMetricsOverride", **size)
            tab.call("Page.navigate", url=address)
            tab.wait_for("Page.loadEventFired")
            place = f"{width} px, {scheme}"
            problems += [f"{place}: {text}" for text in page_problems(tab, width, address)]
            height = min(max_height, tab.evaluate("document.documentElement.scrollHeight"))
            tab.call("Emulation.setDeviceMetricsOverride", **{**size, "height": height})
            shot = tab.call("Page.captureScreenshot", format="png")
            (out / f"{width}-{scheme}.png").write_bytes(base64.b64decode(shot["data"]))
    return problems


def page_problems(tab: Tab, width: int, address: str) -> list[str]:
    """Problems of the loaded page."""
    problems = []
    scroll = tab.evaluate("document.documentElement.scrollWidth")
    if scroll > width:
        problems.append(f"the page is {scroll} px wide; {tab.evaluate(WIDER_THAN_PAGE)} extend past the edge")
    for event in tab.events:
        params = event["params"]
        if event["method"] == "Runtime.exceptionThrown" or (
            event["method"] == "Log.entryAdded" and params["entry"]["level"] == "error"
        ):
            problems.append(f"console: {json.dumps(params)[:300]}")
        if event["method"] == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if url != address and not url.startswith("data:"):
                problems.append(f"requests {url[:200]}")
    return problems


def debugging_port(process: subprocess.Popen[str]) -> int:
    """Debugging port, from the line that Chromium prints."""
    assert process.stderr is not None
    for line in process.stderr:
        if "DevTools listening on" in line:
            return int(line.split("127.0.0.1:")[1].split("/")[0])
    raise SystemExit("error: the browser exited before it opened its debugging port")


class Tab:
    """Browser page, controlled over its WebSocket (RFC 6455: client frames are masked)."""

    def __init__(self, port: int) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
            pages = [target for target in json.load(answer) if target["type"] == "page"]
        path = pages[0]["webSocketDebuggerUrl"].split(str(port), 1)[1]
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._stream = self._socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while self._stream.readline() not in (b"\r\n", b""):
            pass
        self.events: list[dict[str, Any]] = []
        self._calls = 0

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Result of a command; events received meanwhile are kept in ``events``."""
        self._calls += 1
        self._send(json.dumps({"id": self._calls, "method": method, "params": params}).encode())
        while True:
            message = self._receive()
            if message.get("id") == self._calls:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return dict(message["result"])

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait_for(self, method: str) -> None:
        """Wait for an event."""
        while not any(event["method"] == method for event in self.events):
            self._receive()

    def _send(self, payload: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        size = struct.pack("!BB", 0x81, 0x80 | len(payload)) if len(payload) < 126 else b""
        self._socket.sendall((size or struct.pack("!BBH", 0x81, 0xFE, len(payload))) + mask + masked)

    def _receive(self) -> dict[str, Any]:
        payload, last = b"", False
        while not last:
            first, second = self._stream.read(2)
            last, size = bool(first & 0x80), second & 0x7F
            if size >= 126:
                size = int.from_bytes(self._stream.read(2 if size == 126 else 8), "big")
            payload += self._stream.read(size)
        message = dict(json.loads(payload))
        if "method" in message:
            self.events.append(message)
        return message


if __name__ == "__main__":
    sys.exit(main())
