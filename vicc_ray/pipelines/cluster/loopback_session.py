"""What keeps others out of a Ray that is started here: it listens on the loopback alone, with a token of its own.

Every account of this machine reaches the loopback, and whoever Ray listens to can have it run code.
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
from vicc_ray.pipelines.cluster.ray_compat import environment, reload_token, without_clusters
from vicc_ray.utils.cleartext import is_this_machine
from vicc_ray.utils.log import LOG

MODE, DISABLED = "RAY_AUTH_MODE", "disabled"
CONNECT_TIMEOUT_S = 2.0
"""Seconds in which this machine takes a connection of its own."""


@contextmanager
def session_token() -> Iterator[None]:
    """Have the Ray that is started in the block take a token that only this process and its children know.

    Not that of ``~/.ray/auth_token``, which is a cluster's, and which Ray would make readable for all. One that is in
    ``RAY_AUTH_TOKEN`` or ``RAY_AUTH_TOKEN_PATH`` is taken; ``RAY_AUTH_MODE=disabled`` is heeded, and said.
    """
    if os.environ.get(MODE, "").lower() == DISABLED:
        LOG.warning("%s=%s: every account of this machine can run code in this Ray as you; unset it", MODE, DISABLED)
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


@contextmanager
def loopback_only() -> Iterator[None]:
    """Have the Ray that is started in the block listen on 127.0.0.1 alone, as it does where it knows no clusters.

    Who joins such a one must do without clusters too: else Ray takes 127.0.0.1 for the machine's other address.
    """
    with without_clusters():
        yield


def is_loopback_head(address: str) -> bool:
    """Whether a head of this machine, by its address, is not to be had by the machine's other address."""
    host, _, port = address.rpartition(":")
    if not (port.isdigit() and is_this_machine(host.strip("[]"))):
        return False
    with suppress(OSError), socket.create_connection((ray.util.get_node_ip_address(), int(port)), CONNECT_TIMEOUT_S):
        return False
    return True


def is_loopback_session() -> bool:
    """Whether the Ray of this process, which may be one of its workers, is such a one."""
    return is_this_machine(ray.util.get_node_ip_address())
