"""A video that is sent to the server: streamed to a file without a name, up to a size.

The file has no name in any folder, so that nothing is left of it however the server ends.
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
"""For one upload, and within which more of it must come."""
CHUNK = 2**20
"""Bytes that are written at once."""
DRAINED, DRAIN_S = 16 * 2**20, 2.0
"""Bytes and seconds that are read on where a video is declined."""
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@asynccontextmanager
async def uploaded(request: Request, largest: int, space: UploadSpace) -> AsyncIterator[FileIO]:
    """The body of a request as a file that can be read, for as long as the block lasts.

    Raises:
        HTTPException: 413 where it has more than ``largest`` bytes, 408 where it takes too long, 400 where it is empty,
            415 where it is a form, 503 where there is no room for it, 507 where the disk is full.
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
        held = bytearray()
        async for chunk in stream:
            limit.deadline = min(end, anyio.current_time() + IDLE_S)
            if reservation.size + len(chunk) > largest:
                raise too_large(largest)
            reservation.grow(len(chunk))
            held += chunk
            if len(held) >= CHUNK:
                await to_thread.run_sync(_write, file, bytes(held))
                held.clear()
        await to_thread.run_sync(_write, file, bytes(held))
    if limit.cancelled_caught:
        raise HTTPException(
            408, f"not all of the video came within {TIME_LIMIT_S:g} s, or no more of it in {IDLE_S:g} s"
        )
    if not reservation.size:
        raise HTTPException(400, "an empty file")


def _write(file: IO[bytes], content: bytes) -> None:
    rest = memoryview(content)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise HTTPException(507, "the server has no room left on its disk for this video") from None


def how_to_send(request: Request) -> str:
    """What a request must be, for who sent another one."""
    return f"the body must be the video itself: curl --data-binary @query.mp4 {request.base_url}api/query"


async def _drain(stream: AsyncIterator[bytes]) -> None:
    """Read a little more, and drop it: who is still sending when the connection is closed does not see the answer."""
    left = DRAINED
    with anyio.move_on_after(DRAIN_S):
        async for chunk in stream:
            left -= len(chunk)
            if left < 0:
                break


def too_large(largest: int) -> HTTPException:
    """The answer to a video that is too large."""
    return HTTPException(413, f"larger than the {largest / 2**20:g} MB that this server takes (--max-upload)")
