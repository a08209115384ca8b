"""A clip store in a bucket, as a folder of this machine that fills up: each file is copied when it is first needed.

Object stores answer slowly and are paid by the request, and training reads a row here and a row there: hundreds a
second. So a shard is fetched once a machine, whole and in one request, and read from disk from then on.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from vicc_ray.datasets.object_storage import RemotePath, UnreadableFileError
from vicc_ray.errors import UserError
from vicc_ray.utils.fs import atomic_path, file_lock
from vicc_ray.utils.home import home
from vicc_ray.utils.local_paths import local_path

CACHE_VARIABLE = "VICC_RAY_CACHE"
"""Environment variable: the folder of the copies, of all machines; by default ~/.cache/vicc_ray."""


def cache_folder() -> Path:
    """Where copies lie on this machine.

    Raises:
        UserError: the variable names no folder of this machine.
    """
    given = os.environ.get(CACHE_VARIABLE) or home() / ".cache" / "vicc_ray"
    return local_path(given, f"{CACHE_VARIABLE} is a folder of each machine")


class RemoteCache:
    """The files of one remote folder; can be pickled, and used by many processes of a machine at once.

    Args:
        address: of the folder.
        version: names of small files that are fetched at once; another content of them is another store, which gets a
            folder of its own.

    Raises:
        UserError: these files cannot be had.
    """

    def __init__(self, address: str, version: tuple[str, ...]) -> None:
        self.source = RemotePath(address)
        contents = {name: self.source.below(name).read() for name in version}
        digest = hashlib.blake2b(str(self.source).encode(), digest_size=16)
        for content in contents.values():
            digest.update(content)
        self.name = digest.hexdigest()

    @property
    def folder(self) -> Path:
        """The folder of the copies on the machine that asks."""
        return cache_folder() / "stores" / self.name

    def file(self, name: str) -> Path:
        """The copy of a file, made now where it is not there yet.

        Raises:
            UserError: it cannot be had.
        """
        copy = self.folder / name
        if copy.exists():
            return copy
        self.folder.mkdir(parents=True, exist_ok=True)
        with file_lock(self.folder / f".{name}.lock"):
            if not copy.exists():  # another process may have fetched it while this one waited
                self._fetch(name, copy)
        return copy

    def _fetch(self, name: str, copy: Path) -> None:
        source = self.source.below(name)
        try:
            with atomic_path(copy) as aside, aside.open("wb") as out:
                source.fetch(out)
        except UnreadableFileError as error:
            raise UserError(f"{source}: {error}; is the clip store there as a whole?") from None
        except OSError as error:
            raise UserError(
                f"{source} cannot be copied to {copy.parent}: {error.strerror}; every machine keeps a copy of the clip "
                f"store there, free some space or set {CACHE_VARIABLE} to another folder"
            ) from None
