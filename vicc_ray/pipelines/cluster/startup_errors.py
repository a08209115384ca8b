"""Why Ray did not start or a cluster was not joined, and what to do: an advice for each cause."""

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
    """Refuse an object store that this machine can never have.

    Raises:
        UserError: it is larger than the memory.
    """
    if store_mb > _memory_mb():
        raise UserError(
            f"ray.object_store_mb: {store_mb} given, and this machine has {_memory_mb()} MiB of memory; lower it"
        )


def store_on_disk_mb(store_mb: int) -> int:
    """MiB of disk that the object store takes, since shared memory has no room for it; 0 if it has."""
    return 0 if _free_mb(SHARED_MEMORY) >= store_mb else store_mb


def slow_store_advice(store_mb: int, folder: Path) -> str:
    """What that comes to."""
    return (
        f"ray.object_store_mb: {store_mb} given, and {SHARED_MEMORY} has {_free_mb(SHARED_MEMORY)} MiB free: the "
        f"object store is on the disk ({folder.parent}), which is slower; give it more "
        "(docker run --shm-size=1g) or lower the setting"
    )


def startup_advice(config: RayConfig, error: Exception, folder: Path) -> str:
    """For a Ray that is started here; ``folder``: of its files."""
    text = str(error).lower()
    if isinstance(error, OSError) and error.filename and error.errno in NOT_OURS:
        return f"Is {error.filename} yours, and may you write there?"
    causes = {
        ("no space left",): f"The disk of {folder.parent} is full: free some, or set TMPDIR to a folder on another one",
        ("/dev/shm",): f"Lower ray.object_store_mb ({config.object_store_mb}), or give {SHARED_MEMORY} more",
        ("too many open files",): "Raise the limit of open files: ulimit -n 65536",
        ("thread", "resource temporarily unavailable", "cannot allocate memory"): (
            "Raise the limit of processes: ulimit -u, or of a container --pids-limit and its memory"
        ),
        ("object store", "object_store", "memory"): (
            f"Lower ray.object_store_mb ({config.object_store_mb} given, the machine has {_memory_mb()} MiB)"
        ),
        ("getpwuid", "username"): "This user has no name: set USER, or give the container one in /etc/passwd",
        ("timed out", "timeout"): "Where the machine is busy with other work, try again later",
    }
    known = next((advice for words, advice in causes.items() if any(word in text for word in words)), "")
    return f"{known}; Ray's logs are in {folder}" if known else f"Ray's logs may tell why: they are in {folder}"


def connection_advice(address: str, error: Exception) -> str:
    """For a cluster that is joined."""
    text = "\n".join(_chain(error)).lower()
    causes = {
        ("unauthenticated", "invalidauthtoken", "authentication token"): (
            f"{address} (--address or RAY_ADDRESS): the cluster does not take the token of this machine; {TOKEN_ADVICE}"
        ),
        ("could not find any running ray",): (
            "No Ray runs on this machine, which auto looks for: run this on one of the cluster's machines, give "
            "HOST:PORT of its head, or leave --address and RAY_ADDRESS out to start one here"
        ),
        ("version mismatch", "different version"): "Install the versions that the cluster has",
        ("not known", "no address associated", "name resolution"): (
            f"{address} (--address or RAY_ADDRESS): there is no machine of that name"
        ),
        ("refused", "no route", "unreachable"): (
            f"{address} (--address or RAY_ADDRESS): is that cluster up, and is that the port of its head (6379 if none "
            "was given)? Without it this machine works alone"
        ),
    }
    known = next((advice for words, advice in causes.items() if any(word in text for word in words)), "")
    return known or (
        f"{address} (--address or RAY_ADDRESS): is it the port of the head (6379, not that of the dashboard or of Ray "
        "Client), and is this one of the cluster's machines? From elsewhere use `vicc-ray submit`"
    )


def _chain(error: BaseException | None) -> Iterator[str]:
    """What an error says and what those say that it follows from: Ray keeps the cause there."""
    while error is not None:
        yield str(error)
        error = error.__cause__ or error.__context__


def _free_mb(folder: Path) -> int:
    return shutil.disk_usage(folder).free // 2**20 if folder.is_dir() else 0


def _memory_mb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
