"""Annotation source: the file or folder that ``--labels`` points to."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from vicc_ray.datasets.locations import Location, below, files_in, read
from vicc_ray.errors import UserError


class AnnotationSource:
    """An annotation file, or a folder of them.

    Attributes:
        names: sorted names of the files in the folder; None if the source is a file.
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        names = files_in(location)
        self.names = None if names is None else tuple(names)
        self.notes: list[str] = []
        """Which parts were used, one line each, for the user; the format that reads the source adds them."""
        self.read = lru_cache(maxsize=1)(self._read)

    @property
    def suffix(self) -> str:
        """Suffix of the file in lower case; "" for a folder."""
        name = self.file_name()
        return f".{name.rpartition('.')[2].lower()}" if self.names is None and "." in name else ""

    def file_name(self, name: str = "") -> str:
        """Name of the file, or of file ``name`` in the folder."""
        return name or (self.location.name if isinstance(self.location, Path) else self.location.file_name)

    def text(self, name: str = "") -> str:
        """Text of the file, or of file ``name`` in the folder.

        Raises:
            UserError: it cannot be read, or is not UTF-8.
        """
        try:
            return self.read(name).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{self.path(name)} cannot be read: it is not UTF-8 text ({error}); save it with the encoding UTF-8"
            ) from None

    def path(self, name: str = "") -> str:
        """Path of the file, or of file ``name`` in the folder, for messages."""
        return str(below(self.location, name) if name else self.location)

    def _read(self, name: str) -> bytes:
        return read(below(self.location, name) if name else self.location)
