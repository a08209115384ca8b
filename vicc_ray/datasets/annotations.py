"""What ``--labels`` points to: one file, or a folder of them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from vicc_ray.datasets.locations import Location, below, files_in, read
from vicc_ray.errors import UserError


class AnnotationSource:
    """A file (``names`` is None) or a folder of the files ``names``."""

    def __init__(self, location: Location) -> None:
        self.location = location
        names = files_in(location)
        self.names = None if names is None else tuple(names)
        self.notes: list[str] = []
        """What of it was used, for the user: the source that reads it adds a line."""
        self.read = lru_cache(maxsize=1)(self._read)

    @property
    def suffix(self) -> str:
        """Of the file, in lower case; "" for a folder."""
        name = self.file_name()
        return f".{name.rpartition('.')[2].lower()}" if self.names is None and "." in name else ""

    def file_name(self, name: str = "") -> str:
        """Of the file, or of a file in the folder."""
        return name or (self.location.name if isinstance(self.location, Path) else self.location.file_name)

    def text(self, name: str = "") -> str:
        """The text of the file, or of a file in the folder.

        Raises:
            UserError: it cannot be read, or is no UTF-8.
        """
        try:
            return self.read(name).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{self.path(name)} cannot be read: it is no UTF-8 text ({error}); save it with the encoding UTF-8"
            ) from None

    def path(self, name: str = "") -> str:
        """What to call the file, or a file in the folder."""
        return str(below(self.location, name) if name else self.location)

    def _read(self, name: str) -> bytes:
        return read(below(self.location, name) if name else self.location)
