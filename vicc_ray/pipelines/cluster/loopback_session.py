"""Loopback session: a Ray of this machine that listens on 127.0.0.1 alone and asks for a token of its own.

The token is needed too: every account of this machine reaches the loopback, and Ray runs code for all who connect.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import ray

from vicc_ray.pipelines.cluster.address import TOKEN, TOKEN_PATH
from vicc_ray.pipelines.cluster.ray_compat import environment, reload_token
from vicc_ray.utils.cleartext import is_this_machine
from vicc_ray.utils.log import LOG

MODE, DISABLED = "RAY_AUTH_MODE", "disabled"
CONNECT_TIMEOUT_S = 2.0
"""Timeout of a connection from this machine to itself."""


@contextmanager
def session_token() -> Iterator[None]:
    """Give a Ray that starts in the block a token that only this process and its children know.

    It is not the one in ``~/.ray/auth_token``: that is a cluster's, and Ray writes the file readable for all. A token
    in ``RAY_AUTH_TOKEN`` or ``RAY_AUTH_TOKEN_PATH`` is used, and ``RAY_AUTH_MODE=disabled`` is obeyed with a warning.
    """
    if os.environ.get(MODE, "").lower() == DISABLED:
        LOG.warning("%s=%s: every account of this machine can run code as you in this Ray; unset it", MODE, DISABLED)
        yield
        return
    changes: dict[str, str | None] = {MODE: None}  # with the mode unset, `ray.init` switches it to token
    if not {TOKEN, TOKEN_PATH} & set(os.environ):
        changes[TOKEN] = secrets.token_hex(32)
    logger = logging.getLogger("ray._private.authentication")
    level = logger.level
    logger.setLevel(logging.ERROR)  # "token mode is on"
    try:
        with environment(changes):
            reload_token(required=True)
            yield
    finally:
        logger.setLevel(level)
        reload_token()


def is_loopback_head(address: str) -> bool:
    """Whether an address is that of a head on this machine that listens on the loopback alone."""
    host, _, port = address.rpartition(":")
    if not (port.isdigit() and is_this_machine(host.strip("[]"))):
        return False
    with suppress(OSError), socket.create_connection((ray.util.get_node_ip_address(), int(port)), CONNECT_TIMEOUT_S):
        return False
    return True


def is_loopback_session() -> bool:
    """Whether this process, a driver or a worker, is part of a loopback session."""
    return is_this_machine(ray.util.get_node_ip_address())
