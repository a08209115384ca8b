"""Which cluster the verbs work on, and the token that it asks for; without Ray, which looks at both when imported."""

from __future__ import annotations

import os
from pathlib import Path

from vicc_ray.errors import UserError
from vicc_ray.utils.home import home
from vicc_ray.utils.log import LOG

TOKEN, TOKEN_PATH = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
TOKEN_FILE = ".ray/auth_token"
"""Below the home."""
TOKEN_ADVICE = "put the cluster's into ~/.ray/auth_token, RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN"
LOCAL = "local"
"""In the place of an address: start a Ray here."""


def join_cluster(address: str | None) -> None:
    """Have pipelines of this process work on a cluster; None: on the one in ``RAY_ADDRESS``, if that is set.

    Args:
        address: "auto" on one of its machines, or HOST:PORT of its head (6379, unless it was started with another).

    Raises:
        UserError: it is the address of something else.
    """
    if address:
        _check("--address", address)
        os.environ["RAY_ADDRESS"] = address
    if cluster_address():
        use_token()


def cluster_address() -> str | None:
    """That in ``RAY_ADDRESS``; None where it is not set, or asks for a Ray on this machine alone.

    Raises:
        UserError: it is the address of something else.
    """
    address = os.environ.get("RAY_ADDRESS", "").strip()
    _check("RAY_ADDRESS", address)
    return None if address in ("", LOCAL) else address


def _check(name: str, address: str) -> None:
    if "://" in address:
        raise UserError(
            f"{name}: {address!r} given; this verb runs here and joins the cluster itself, on one of its machines: "
            "give auto, or HOST:PORT of its head. From elsewhere use `vicc-ray submit`, which takes http:// addresses"
        )


def use_token() -> None:
    """Have Ray send the token that is there.

    Ray looks for it in ``RAY_AUTH_TOKEN``, in the file ``RAY_AUTH_TOKEN_PATH`` and in ``~/.ray/auth_token``, but sends
    none as long as ``RAY_AUTH_MODE`` is not set.
    """
    file = Path(os.environ.get(TOKEN_PATH) or home() / TOKEN_FILE)
    if not (file.exists() or {TOKEN, TOKEN_PATH} & set(os.environ)):
        return
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    if TOKEN not in os.environ and file.exists() and file.stat().st_mode & 0o077:
        LOG.warning(
            "%s: other accounts may read the cluster's token, and run code there as you: chmod 600 %s", file, file
        )


def sends_token() -> bool:
    """Whether Ray sends one, in this process."""
    return os.environ.get("RAY_AUTH_MODE", "").lower() == "token"
