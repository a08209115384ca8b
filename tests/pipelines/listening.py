"""TCP listeners of this process and its descendants, from ``/proc/net``."""

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
    ports: dict[str, set[int]] = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == LISTENS and rest[5] in sockets:
                address, _, port = local.partition(":")
                ports.setdefault(str(_address(address)), set()).add(int(port, 16))
    return ports


def non_loopback(listeners: dict[str, set[int]]) -> dict[str, set[int]]:
    """Listeners at other addresses than loopback."""
    return {address: ports for address, ports in listeners.items() if not _is_loopback(address)}


@contextmanager
def external_listeners() -> Iterator[set[str]]:
    """Non-loopback addresses that a process of ours listens at while the block runs."""
    addresses: set[str] = set()

    def poll(over: threading.Event) -> None:
        while not over.wait(POLL_INTERVAL_S):
            addresses.update(non_loopback(listening()))

    with background_thread(poll):
        yield addresses


def _is_loopback(text: str) -> bool:
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _address(hexadecimal: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Address from the kernel's hexadecimal words of four bytes, each in little-endian order."""
    words = [bytes.fromhex(hexadecimal[start : start + 8])[::-1] for start in range(0, len(hexadecimal), 8)]
    return ipaddress.ip_address(b"".join(words))


def _sockets_of(pids: list[int]) -> set[str]:
    links = set()
    for pid in pids:
        with suppress(OSError):  # the process has exited
            links |= {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()}
    return {name.removeprefix("socket:[").removesuffix("]") for name in links if name.startswith("socket:[")}
