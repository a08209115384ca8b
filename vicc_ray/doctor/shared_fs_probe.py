"""Whether a folder is one folder for all machines: each writes a small file into it and looks for the others'."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


class SharedFsProbe:
    """Of one machine, in a hidden folder that only this look at the machines uses.

    Args:
        folder: to be looked at; ``~`` is the home folder of whoever asks.
        look: names this look.
        machine: names this machine, and its file.
    """

    def __init__(self, folder: str, look: str, machine: str) -> None:
        self._folder = Path(folder).expanduser() / f".vicc-ray-doctor-{look}"
        self._machine = machine

    def write(self) -> str:
        """Write this machine's file and read it again. Returns "" or what is wrong."""
        file = self._folder / self._machine
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with file.open("w") as stream:
                stream.write(self._machine)
                stream.flush()
                os.fsync(stream.fileno())
            return _wrong(file)
        except OSError as error:
            return _in_words(error)

    def missing(self, machines: Iterable[str]) -> list[str]:
        """Those of ``machines`` whose file is not seen here as it was written."""
        return [machine for machine in machines if _wrong(self._folder / machine)]

    def remove(self) -> None:
        """Remove this machine's file, and the last one the folder."""
        with suppress(OSError):
            (self._folder / self._machine).unlink()
            self._folder.rmdir()


def _wrong(file: Path) -> str:
    """What is wrong with a file that should hold its own name, or ""."""
    try:
        return "" if file.read_text() == file.name else "what was written is not what is read"
    except OSError as error:
        return _in_words(error)


def _in_words(error: OSError) -> str:
    return f"{error.strerror or error} ({error.filename})" if error.filename else str(error)
