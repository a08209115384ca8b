"""Limits for concurrent uploads: their number and their total size on disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.exceptions import HTTPException

RETRY_AFTER_S = 10
"""Retry delay for clients."""


class UploadSpace:
    """Upload space of one server; only its event loop may use it.

    Args:
        uploads: most concurrent uploads.
        size: most bytes of all uploads together.
    """

    def __init__(self, uploads: int, size: int) -> None:
        self._uploads, self._size = uploads, size

    @contextmanager
    def reserve(self) -> Iterator[UploadReservation]:
        """Reservation for one upload.

        Raises:
            HTTPException: 503 if all are taken.
        """
        if not self._uploads:
            raise too_busy("too many uploads at once")
        self._uploads -= 1
        reservation = UploadReservation(self)
        try:
            yield reservation
        finally:
            self._uploads += 1
            self._size += reservation.size

    def take(self, size: int) -> None:
        """Reserve ``size`` bytes; HTTPException 503 if they are not available."""
        if size > self._size:
            raise too_busy("the space for uploads is full")
        self._size -= size


class UploadReservation:
    """Space reserved by one upload."""

    def __init__(self, space: UploadSpace) -> None:
        self._space, self.size = space, 0

    def grow(self, size: int) -> None:
        """Reserve ``size`` more bytes; HTTPException 503 if they are not available."""
        self._space.take(size)
        self.size += size


def too_busy(reason: str) -> HTTPException:
    """Error for a resource that will be free again."""
    return HTTPException(503, f"{reason}; try again in a moment", {"Retry-After": str(RETRY_AFTER_S)})
