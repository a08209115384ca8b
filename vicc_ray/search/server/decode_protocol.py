"""Protocol of the decoding processes: plain bytes with a header of fixed size, read with limits.

A malicious file may take over its decoder, so every field of a reply is validated.
t frames, n windows, T frames of a window, S side of a window.
"""

from __future__ import annotations

import math
import socket
import struct
import time
from typing import NamedTuple

import numpy as np

from vicc_ray.search.thumbnail import MAX_THUMBNAIL_BYTES
from vicc_ray.search.window_spec import WindowSpec
from vicc_ray.search.windows import STRETCH, WindowChunk

END, CHUNK, NOT_A_VIDEO, TOO_LONG = range(4)
"""Kinds of reply: end of the chunks, one chunk, not a video (with a message), time limit exceeded."""
_HEAD = struct.Struct("<BIIdI")
"""Kind, t, n, seconds, and size in bytes of the thumbnail or the message."""
_REQUEST = struct.Struct("<Id")
"""Size of the window specification as JSON, and the time limit in seconds."""
LONGEST_REQUEST, MAX_TEXT_BYTES = 4096, 1000
"""In bytes."""


class ProtocolError(Exception):
    """Invalid reply; the process that sent it must not be used again."""


class Reply(NamedTuple):
    """Reply; its kind determines whether it has a chunk or a message."""

    kind: int
    chunk: WindowChunk | None = None
    message: str = ""


def send_request(pipe: socket.socket, file: int, spec: WindowSpec, limit_s: float) -> None:
    """Request the chunks of an open file, whose descriptor is sent along."""
    text = spec.model_dump_json().encode()
    socket.send_fds(pipe, [_REQUEST.pack(len(text), limit_s) + text], [file])


def receive_request(pipe: socket.socket) -> tuple[int, WindowSpec, float] | None:
    """Descriptor, window specification and time limit; None after the socket is closed."""
    head, files, _, _ = socket.recv_fds(pipe, _REQUEST.size, 1)
    if not head or not files:
        return None
    length, limit_s = _REQUEST.unpack(head)
    text = pipe.recv(min(length, LONGEST_REQUEST), socket.MSG_WAITALL)
    return files[0], WindowSpec.model_validate_json(text), limit_s


def send_chunk(pipe: socket.socket, chunk: WindowChunk) -> None:
    """Send one chunk as a reply."""
    pipe.sendall(_HEAD.pack(CHUNK, len(chunk.frames), len(chunk.places), chunk.seconds, len(chunk.thumbnail)))
    arrays = (chunk.frames, chunk.places.astype("<i4"), chunk.spans.astype("<f4"))
    for content in (*(np.ascontiguousarray(array).tobytes() for array in arrays), chunk.thumbnail):
        pipe.sendall(content)


def send_text(pipe: socket.socket, kind: int, message: str = "") -> None:
    """Send a reply of another kind."""
    text = message.encode(errors="replace")[:MAX_TEXT_BYTES]
    pipe.sendall(_HEAD.pack(kind, 0, 0, 0.0, len(text)) + text)


def receive_reply(pipe: socket.socket, spec: WindowSpec, deadline: float) -> Reply:
    """Next reply.

    Raises:
        TimeoutError: none came by ``deadline`` (monotonic clock).
        EOFError: the process has ended.
        ProtocolError: the reply is invalid for this request.
    """
    kind, frames, windows, seconds, rest = _HEAD.unpack(_receive(pipe, _HEAD.size, deadline))
    if kind == CHUNK:
        _check_counts(frames, windows, seconds, rest, spec)
        return Reply(kind, _receive_chunk(pipe, spec, (frames, windows, seconds, rest), deadline))
    if kind not in (END, NOT_A_VIDEO, TOO_LONG) or rest > MAX_TEXT_BYTES:
        raise ProtocolError(f"kind {kind} with {rest} bytes")
    message = _receive(pipe, rest, deadline).decode(errors="replace")
    return Reply(kind, message="".join(letter if letter.isprintable() else "?" for letter in message))


def _check_counts(frames: int, windows: int, seconds: float, thumbnail: int, spec: WindowSpec) -> None:
    """Check the sizes before any memory is allocated for them."""
    if not 1 <= frames <= STRETCH + spec.extent or not 1 <= windows <= max(1, spec.max_windows):
        raise ProtocolError(f"{frames} frames, {windows} windows")
    if not (math.isfinite(seconds) and seconds >= 0) or thumbnail > MAX_THUMBNAIL_BYTES:
        raise ProtocolError(f"{seconds} s, a thumbnail of {thumbnail} bytes")


def _receive_chunk(
    pipe: socket.socket, spec: WindowSpec, counts: tuple[int, int, float, int], deadline: float
) -> WindowChunk:
    count, windows, seconds, thumbnail = counts
    frames = np.frombuffer(_receive(pipe, count * spec.size**2 * 3, deadline), np.uint8)
    places = np.frombuffer(_receive(pipe, windows * spec.frames * 4, deadline), "<i4").astype(np.int64)
    spans = np.frombuffer(_receive(pipe, windows * 8, deadline), "<f4").astype(np.float32).reshape(windows, 2)
    if np.min(places) < 0 or np.max(places) >= count:
        raise ProtocolError("frame indices out of range")
    if not np.isfinite(spans).all() or (spans < 0).any() or (spans[:, 0] > spans[:, 1]).any():
        raise ProtocolError("invalid spans")
    shown = bytes(_receive(pipe, thumbnail, deadline))
    shape = (count, spec.size, spec.size, 3)
    return WindowChunk(frames.reshape(shape), places.reshape(windows, spec.frames), spans, seconds, shown)


def _receive(pipe: socket.socket, size: int, deadline: float) -> bytearray:
    content = bytearray(size)
    unfilled = memoryview(content)
    while unfilled:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        pipe.settimeout(left)
        received = pipe.recv_into(unfilled)
        if not received:
            raise EOFError
        unfilled = unfilled[received:]
    return content
