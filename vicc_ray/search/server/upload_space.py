"""Room for the videos that are sent to a server: so many at once, and so many bytes of them on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.exceptions import HTTPException

RETRY_AFTER_S = 10
"""When to come again."""


class UploadSpace:
    """The room of one server; used by its event loop alone.

    Args:
        uploads: that may be here at once.
        size: bytes that all of them may have.
    """

    def __init__(self, uploads: int, size: int) -> None:
        self._uploads, self._size = uploads, size

    @contextmanager
    def reserve(self) -> Iterator[UploadReservation]:
        """The place of one upload.

        Raises:
            HTTPException: 503 where all are taken.
        """
        if not self._uploads:
            raise too_busy("as many videos as this server takes at once are being received or looked at")
        self._uploads -= 1
        reservation = UploadReservation(self)
        try:
            yield reservation
        finally:
            self._uploads += 1
            self._size += reservation.size

    def take(self, size: int) -> None:
        """Some bytes; HTTPException 503 where there are not as many."""
        if size > self._size:
            raise too_busy("the room for videos that are being received or looked at is taken")
        self._size -= size


class UploadReservation:
    """What one upload has of the room."""

    def __init__(self, space: UploadSpace) -> None:
        self._space, self.size = space, 0

    def grow(self, size: int) -> None:
        """More bytes; HTTPException 503 where there are not as many."""
        self._space.take(size)
        self.size += size


def too_busy(reason: str) -> HTTPException:
    """The answer where something is taken that will be free again."""
    return HTTPException(503, f"{reason}; try again in a moment", {"Retry-After": str(RETRY_AFTER_S)})
