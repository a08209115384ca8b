"""Names and addresses that lead to this machine alone."""

from __future__ import annotations

import ipaddress
import re

HOST = re.compile(r"(?:\[(?P<literal>[^][]*)\]|(?P<name>[^][:]*))(?::\d*)?")
"""The header of that name: an address of IPv6 is in brackets, and a port may follow."""


def is_loopback(host: str) -> bool:
    """Whether a host is ``localhost``, or an address of the loopback interface."""
    name = host.lower().removesuffix(".")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def is_loopback_header(host: str) -> bool:
    """The same of what the header ``Host`` has.

    Another name that leads here is that of a site which wants to be taken for this one (DNS rebinding).
    """
    found = HOST.fullmatch(host)
    return found is not None and is_loopback(found["literal"] or found["name"] or "")
