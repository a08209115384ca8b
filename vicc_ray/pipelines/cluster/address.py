"""Cluster address and authentication token, set before Ray is imported: Ray reads both at import."""

from __future__ import annotations

import os
from pathlib import Path

from vicc_ray.errors import UserError
from vicc_ray.utils.home import home
from vicc_ray.utils.log import LOG

TOKEN, TOKEN_PATH = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
TOKEN_FILE = ".ray/auth_token"
"""Below the home folder."""
TOKEN_ADVICE = "put the cluster's token into ~/.ray/auth_token, RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN"
LOCAL = "local"
"""Value of ``RAY_ADDRESS`` that means: start Ray on this machine."""


def join_cluster(address: str | None) -> None:
    """Have pipelines of this process join a cluster; None: the one in ``RAY_ADDRESS``, if that is set.

    Args:
        address: "auto" on one of its nodes, or HOST:PORT of its head (port 6379 by default).

    Raises:
        UserError: it is no address of a head.
    """
    if address:
        _check("--address", address)
        os.environ["RAY_ADDRESS"] = address
    if cluster_address():
        use_token()


def cluster_address() -> str | None:
    """Address in ``RAY_ADDRESS``; None where it is not set or is ``local``.

    Raises:
        UserError: it is no address of a head.
    """
    address = os.environ.get("RAY_ADDRESS", "").strip()
    _check("RAY_ADDRESS", address)
    return None if address in ("", LOCAL) else address


def _check(name: str, address: str) -> None:
    if "://" in address:
        raise UserError(
            f"{name}: {address!r} given; this command joins the cluster itself, from one of its nodes: give auto, "
            "or HOST:PORT of its head. From elsewhere use `vicc-ray submit`, which takes http:// addresses"
        )


def use_token() -> None:
    """Set ``RAY_AUTH_MODE`` if there is a token.

    Ray reads it from ``RAY_AUTH_TOKEN``, from the file ``RAY_AUTH_TOKEN_PATH`` or from ``~/.ray/auth_token``, but sends
    none while ``RAY_AUTH_MODE`` is unset.
    """
    file = Path(os.environ.get(TOKEN_PATH) or home() / TOKEN_FILE)
    if not (file.exists() or {TOKEN, TOKEN_PATH} & set(os.environ)):
        return
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    if TOKEN not in os.environ and file.exists() and file.stat().st_mode & 0o077:
        LOG.warning(
            "%s: other accounts can read the cluster's token and run code there as you: chmod 600 %s", file, file
        )


def sends_token() -> bool:
    """Whether Ray sends a token from this process."""
    return os.environ.get("RAY_AUTH_MODE", "").lower() == "token"
