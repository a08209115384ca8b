"""Where the processes that this one has begun listen, as the kernel tells it."""

from __future__ import annotations

import ipaddress
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vicc_ray.utils.background_thread import background_thread
from vicc_ray.utils.child_processes import descendants

LISTENS = "0A"
POLL_INTERVAL_S = 0.2


def listening() -> dict[str, set[int]]:
    """Address -> TCP ports."""
    sockets = _sockets_of([os.getpid(), *descendants()])
    found: dict[str, set[int]] = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == LISTENS and rest[5] in sockets:
                address, _, port = local.partition(":")
                found.setdefault(str(_address(address)), set()).add(int(port, 16))
    return found


def outside(listens: dict[str, set[int]]) -> dict[str, set[int]]:
    """Those that are not of the loopback."""
    return {address: ports for address, ports in listens.items() if not _is_loopback(address)}


@contextmanager
def heard_outside() -> Iterator[set[str]]:
    """Other addresses than of the loopback at which something listens while the block runs."""
    found: set[str] = set()

    def look(over: threading.Event) -> None:
        while not over.wait(POLL_INTERVAL_S):
            found.update(outside(listening()))

    with background_thread(look):
        yield found


def _is_loopback(text: str) -> bool:
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _address(written: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """In words of four bytes, each turned round."""
    words = [bytes.fromhex(written[start : start + 8])[::-1] for start in range(0, len(written), 8)]
    return ipaddress.ip_address(b"".join(words))


def _sockets_of(pids: list[int]) -> set[str]:
    found = set()
    for pid in pids:
        with suppress(OSError):  # it has ended
            found |= {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()}
    return {name.removeprefix("socket:[").removesuffix("]") for name in found if name.startswith("socket:[")}
