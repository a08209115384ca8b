"""Startup errors of Ray: advice for each known cause of a failed start or connection."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from vicc_ray.config import RayConfig
from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster.address import TOKEN_ADVICE

SHARED_MEMORY = Path("/dev/shm")
NOT_OURS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR}


def check_memory(store_mb: int) -> None:
    """Reject an object store larger than the memory of this machine.

    Raises:
        UserError: it is.
    """
    if store_mb > _memory_mb():
        raise UserError(
            f"ray.object_store_mb: {store_mb} given, but this machine has {_memory_mb()} MiB of memory; lower it"
        )


def store_on_disk_mb(store_mb: int) -> int:
    """MiB of disk for an object store that does not fit into shared memory; 0 if it fits."""
    return 0 if _free_mb(SHARED_MEMORY) >= store_mb else store_mb


def slow_store_advice(store_mb: int, folder: Path) -> str:
    """Warning for such a store."""
    return (
        f"ray.object_store_mb: {store_mb} given, but {SHARED_MEMORY} has {_free_mb(SHARED_MEMORY)} MiB free: the "
        f"object store is on disk ({folder.parent}), which is slower; enlarge shared memory "
        "(docker run --shm-size=1g) or lower the setting"
    )


def startup_advice(config: RayConfig, error: Exception, folder: Path) -> str:
    """Advice for a Ray that did not start on this machine, with its files in ``folder``."""
    text = str(error).lower()
    if isinstance(error, OSError) and error.filename and error.errno in NOT_OURS:
        return f"Check the owner and the permissions of {error.filename}"
    causes = {
        ("no space left",): f"The disk of {folder.parent} is full: free some of it, or set TMPDIR to another disk",
        ("/dev/shm",): f"Lower ray.object_store_mb ({config.object_store_mb}), or enlarge {SHARED_MEMORY}",
        ("too many open files",): "Raise the limit on open files: ulimit -n 65536",
        ("thread", "resource temporarily unavailable", "cannot allocate memory"): (
            "Raise the limit on processes: ulimit -u, or --pids-limit and the memory of a container"
        ),
        ("object store", "object_store", "memory"): (
            f"Lower ray.object_store_mb ({config.object_store_mb} given, the machine has {_memory_mb()} MiB)"
        ),
        ("getpwuid", "username"): "This account has no name: set USER, or add it to /etc/passwd of the container",
        ("timed out", "timeout"): "If the machine is busy with other work, try again later",
    }
    known = next((advice for words, advice in causes.items() if any(word in text for word in words)), "")
    return f"{known}; Ray's logs are in {folder}" if known else f"Look for the cause in Ray's logs: {folder}"


def connection_advice(address: str, error: Exception) -> str:
    """Advice for a cluster that was not joined."""
    text = "\n".join(_chain(error)).lower()
    causes = {
        ("unauthenticated", "invalidauthtoken", "authentication token"): (
            f"{address} (--address or RAY_ADDRESS): the cluster rejects the token of this machine; {TOKEN_ADVICE}"
        ),
        ("could not find any running ray",): (
            "auto looks for Ray on this machine, and none runs here: run the command on a node of the cluster, give "
            "HOST:PORT of its head, or omit --address and RAY_ADDRESS to start Ray here"
        ),
        ("version mismatch", "different version"): "Install the versions of the cluster",
        ("not known", "no address associated", "name resolution"): (
            f"{address} (--address or RAY_ADDRESS): no host has that name"
        ),
        ("refused", "no route", "unreachable"): (
            f"{address} (--address or RAY_ADDRESS): is that cluster up, and is that the port of its head (6379 by "
            "default)? Omit it to start Ray on this machine"
        ),
    }
    known = next((advice for words, advice in causes.items() if any(word in text for word in words)), "")
    return known or (
        f"{address} (--address or RAY_ADDRESS): is it the port of the head (6379, not that of the dashboard or of Ray "
        "Client), and is this machine a node of the cluster? From elsewhere use `vicc-ray submit`"
    )


def _chain(error: BaseException | None) -> Iterator[str]:
    """Texts of an error and of those that caused it, where Ray keeps the reason."""
    while error is not None:
        yield str(error)
        error = error.__cause__ or error.__context__


def _free_mb(folder: Path) -> int:
    return shutil.disk_usage(folder).free // 2**20 if folder.is_dir() else 0


def _memory_mb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
