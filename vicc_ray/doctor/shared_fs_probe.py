"""Probe of a shared file system: each machine writes a small file into a folder and looks for those of the others."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


class SharedFsProbe:
    """Probe of one machine, in a hidden folder that only this check uses.

    Args:
        folder: folder to check; ``~`` is expanded on each machine.
        probe_id: unique name of this check.
        machine: name of this machine, and of its file.
    """

    def __init__(self, folder: str, probe_id: str, machine: str) -> None:
        self._folder = Path(folder).expanduser() / f".vicc-ray-doctor-{probe_id}"
        self._machine = machine

    def write(self) -> str:
        """Write this machine's file and read it back; return an error message, or ""."""
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
        """Machines whose file is missing here, or differs from what was written."""
        return [machine for machine in machines if _wrong(self._folder / machine)]

    def remove(self) -> None:
        """Remove this machine's file, and the last one the folder."""
        with suppress(OSError):
            (self._folder / self._machine).unlink()
            self._folder.rmdir()


def _wrong(file: Path) -> str:
    """Error message for a file that should contain its own name, or ""."""
    try:
        return "" if file.read_text() == file.name else "the content read differs from the content written"
    except OSError as error:
        return _in_words(error)


def _in_words(error: OSError) -> str:
    return f"{error.strerror or error} ({error.filename})" if error.filename else str(error)
