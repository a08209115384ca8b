"""What is sent as it is, so that whoever is on the way can read and change it."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from urllib.parse import urlsplit


def is_in_clear(address: str) -> bool:
    """Whether an address is ``http://`` of another machine; to this one nobody is on the way."""
    parts = urlsplit(address)
    return parts.scheme == "http" and not is_this_machine(parts.hostname or "")


def is_this_machine(host: str) -> bool:
    """Whether a name or an address is one of the loopback."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
