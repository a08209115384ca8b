"""A video that is sent to the server: streamed to a file that is removed afterwards, up to a size."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request

TIME_LIMIT_S = 600.0
"""For one upload."""
CHUNK = 2**20
"""Bytes that are written at once."""
DRAINED, DRAIN_S = 16 * 2**20, 2.0
"""Bytes and seconds that are read on where a video is too large."""


@asynccontextmanager
async def uploaded(request: Request, largest: int) -> AsyncIterator[Path]:
    """The body of a request as a file, for as long as the block lasts.

    Raises:
        HTTPException: 413 where it has more than ``largest`` bytes, 408 where it takes too long, 400 where it is empty,
            415 where it is a form.
    """
    stream, announced = request.stream(), request.headers.get("content-length", "")
    if request.headers.get("content-type", "").startswith("multipart/"):
        await _drain(stream)
        raise HTTPException(415, f"a form was sent; {how_to_send(request)}")
    if announced.isdigit() and int(announced) > largest:
        await _drain(stream)
        raise too_large(largest)
    with tempfile.NamedTemporaryFile(prefix="vicc-ray-") as file:
        with anyio.move_on_after(TIME_LIMIT_S) as limit:
            held, size = bytearray(), 0
            async for chunk in stream:
                size += len(chunk)
                if size > largest:
                    await _drain(stream)
                    raise too_large(largest)
                held += chunk
                if len(held) >= CHUNK:
                    await to_thread.run_sync(file.write, bytes(held))
                    held.clear()
            await to_thread.run_sync(file.write, bytes(held))
            file.flush()
        if limit.cancelled_caught:
            raise HTTPException(408, f"the video did not arrive within {TIME_LIMIT_S:g} s")
        if not size:
            raise HTTPException(400, "an empty file")
        yield Path(file.name)


def how_to_send(request: Request) -> str:
    """What a request must be, for who sent another one."""
    return f"the body must be the video itself: curl --data-binary @query.mp4 {request.base_url}api/ask"


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
