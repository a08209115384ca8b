"""Loopback host names and addresses."""

from __future__ import annotations

import ipaddress
import re

HOST = re.compile(r"(?:\[(?P<literal>[^][]*)\]|(?P<name>[^][:]*))(?::\d*)?")
"""Pattern of a Host header: IPv6 addresses are in brackets, and a port may follow."""


def is_loopback(host: str) -> bool:
    """Whether a host is ``localhost`` or a loopback address."""
    name = host.lower().removesuffix(".")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def is_loopback_header(host: str) -> bool:
    """Whether a ``Host`` header names the loopback interface.

    Another name that resolves to this machine is a sign of DNS rebinding.
    """
    match = HOST.fullmatch(host)
    return match is not None and is_loopback(match["literal"] or match["name"] or "")
