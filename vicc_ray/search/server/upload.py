"""Uploads, streamed to an unnamed temporary file of limited size.

A file without a name in a folder disappears with the server, however it ends.
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import FileIO
from pathlib import Path
from typing import IO

import anyio
from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request

from vicc_ray.search.server.upload_space import UploadReservation, UploadSpace

TIME_LIMIT_S, IDLE_S = 600.0, 60.0
"""Time limits in seconds for an upload, and between two chunks of it."""
CHUNK = 2**20
"""Bytes per write."""
DRAINED, DRAIN_S = 16 * 2**20, 2.0
"""Limits in bytes and seconds for reading on after a refusal."""
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@asynccontextmanager
async def uploaded(request: Request, largest: int, space: UploadSpace) -> AsyncIterator[FileIO]:
    """Body of a request as a readable file, for the duration of the block.

    Raises:
        HTTPException: 413 for more than ``largest`` bytes, 408 for a timeout, 400 for an empty body, 415 for a form,
            503 for too many uploads, 507 for a full disk.
    """
    stream = request.stream()
    try:
        _check_announced(request, largest)
        with space.reserve() as reservation, tempfile.TemporaryFile(buffering=0) as file:
            await _save(stream, file, largest, reservation)
            with Path(f"/dev/fd/{file.fileno()}").open("rb", buffering=0) as readable:
                yield readable
    except HTTPException:
        await _drain(stream)
        raise


def _check_announced(request: Request, largest: int) -> None:
    announced = request.headers.get("content-length", "")
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise HTTPException(415, f"a form was sent; {how_to_send(request)}")
    if announced.isdigit() and int(announced) > largest:
        raise too_large(largest)


async def _save(stream: AsyncIterator[bytes], file: IO[bytes], largest: int, reservation: UploadReservation) -> None:
    end = anyio.current_time() + TIME_LIMIT_S
    with anyio.move_on_after(IDLE_S) as limit:
        buffer = bytearray()
        async for chunk in stream:
            limit.deadline = min(end, anyio.current_time() + IDLE_S)
            if reservation.size + len(chunk) > largest:
                raise too_large(largest)
            reservation.grow(len(chunk))
            buffer += chunk
            if len(buffer) >= CHUNK:
                await to_thread.run_sync(_write, file, bytes(buffer))
                buffer.clear()
        await to_thread.run_sync(_write, file, bytes(buffer))
    if limit.cancelled_caught:
        raise HTTPException(408, f"upload timed out: {TIME_LIMIT_S:g} s in total, {IDLE_S:g} s without data")
    if not reservation.size:
        raise HTTPException(400, "the file is empty")


def _write(file: IO[bytes], content: bytes) -> None:
    rest = memoryview(content)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise HTTPException(507, "the disk of the server is full") from None


def how_to_send(request: Request) -> str:
    """Instructions for a correct upload request."""
    return f"the body must be the video itself: curl --data-binary @query.mp4 {request.base_url}api/query"


async def _drain(stream: AsyncIterator[bytes]) -> None:
    """Read and discard some more: a client that is still sending when the connection closes misses the response."""
    left = DRAINED
    with anyio.move_on_after(DRAIN_S):
        async for chunk in stream:
            left -= len(chunk)
            if left < 0:
                break


def too_large(largest: int) -> HTTPException:
    """Error for an upload that is too large."""
    return HTTPException(413, f"larger than the {largest / 2**20:g} MB that this server accepts (--max-upload)")
