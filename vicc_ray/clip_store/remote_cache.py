"""Local cache of a clip store in a bucket: each file is downloaded when it is first needed.

Training reads hundreds of single rows per second, and object storage has high latency and bills per request. So a shard
is downloaded once per machine, in one request, and read from local disk afterwards.
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
"""Environment variable: the cache folder on every machine; ~/.cache/vicc_ray by default."""


def cache_folder() -> Path:
    """Cache folder of this machine.

    Raises:
        UserError: the variable is not a local path.
    """
    folder = os.environ.get(CACHE_VARIABLE) or home() / ".cache" / "vicc_ray"
    return local_path(folder, f"{CACHE_VARIABLE} is a folder of each machine")


class RemoteCache:
    """Cache of the files of one remote folder. It can be pickled, and many processes of a machine can share it.

    Args:
        address: address of the remote folder.
        version: names of small files that identify the store and are read immediately. If their content changes, the
            store gets a new cache folder.

    Raises:
        UserError: these files cannot be read.
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
        """Folder of the copies on the current machine."""
        return cache_folder() / "stores" / self.name

    def file(self, name: str) -> Path:
        """Path of the local copy of a file, downloaded first if needed.

        Raises:
            UserError: the file cannot be downloaded.
        """
        copy = self.folder / name
        if copy.exists():
            return copy
        self.folder.mkdir(parents=True, exist_ok=True)
        with file_lock(self.folder / f".{name}.lock"):
            if not copy.exists():  # another process may have downloaded it during the wait
                self._download(name, copy)
        return copy

    def _download(self, name: str, copy: Path) -> None:
        source = self.source.below(name)
        try:
            with atomic_path(copy) as tmp, tmp.open("wb") as out:
                source.download(out)
        except UnreadableFileError as error:
            raise UserError(f"{source}: {error}; check that the clip store is complete there") from None
        except OSError as error:
            raise UserError(
                f"{source} cannot be downloaded to {copy.parent}: {error.strerror}; each machine caches the clip store "
                f"there: free some space, or set {CACHE_VARIABLE} to another folder"
            ) from None
