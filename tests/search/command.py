"""``vicc-ray serve`` as a process, and its open files and child processes."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

DEADLINE_S = 60.0
POLL_S = 0.01


@dataclass(frozen=True)
class Command:
    """A running command, and the link that it printed."""

    process: subprocess.Popen[str]
    link: str

    @property
    def port(self) -> int:
        return urlsplit(self.link).port or 0

    @property
    def token(self) -> str:
        return urlsplit(self.link).query.removeprefix("token=")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S)

    def upload_head(self, size: int) -> bytes:
        """Header of an upload request."""
        return (
            f"POST /api/query HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Length: {size}\r\nConnection: close\r\n\r\n"
        ).encode()

    def children(self) -> list[int]:
        """Process ids of its decoding processes."""
        children = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                if int(parent) == self.process.pid and b"decode_worker" in (entry / "cmdline").read_bytes():
                    children.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):  # ended in the meantime
                continue
        return children

    def open_sizes(self, folder: Path) -> list[int]:
        """Sizes of the open files of the process in a folder, including removed and unnamed ones."""
        sizes = []
        for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                if link.readlink().is_relative_to(folder):
                    sizes.append(link.stat().st_size)
            except FileNotFoundError:  # closed in the meantime
                continue
        return sizes


@contextmanager
def serving(index: Path, *arguments: str, environment: Mapping[str, str] = {}) -> Iterator[Command]:
    """The command on a free port of 127.0.0.1, killed at the end."""
    command = [sys.executable, "-m", "vicc_ray", "serve", str(index), "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}) as process:
        try:
            assert process.stdout
            link = re.search(r"open (http://\S+)", process.stdout.readline())
            assert link
            yield Command(process, link[1])
        finally:
            process.kill()


def wait_until(holds: Callable[[], object]) -> None:
    """Poll until the condition is true."""
    end = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(POLL_S)
