"""Addresses whose traffic is not encrypted: anyone on the network path can read and change it."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from urllib.parse import urlsplit


def is_cleartext(address: str) -> bool:
    """Whether an address is ``http://`` to another machine. Loopback traffic never leaves this machine."""
    parts = urlsplit(address)
    return parts.scheme == "http" and not is_this_machine(parts.hostname or "")


def is_this_machine(host: str) -> bool:
    """Whether a host name or IP address is a loopback one."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
