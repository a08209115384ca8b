"""Decoding of files that anyone sent, in processes of their own: one that hangs is ended, one that crashes is replaced.

A process decodes one file at a time, and what it may take of memory is limited.
"""

from __future__ import annotations

import multiprocessing
import queue
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import cv2

from vicc_ray.search.pieces import Piece, read_pieces
from vicc_ray.search.view import View
from vicc_ray.video.decode import TookTooLong, VideoError, too_long

MEMORY = 6 * 2**30
"""Bytes of addresses that a process may have: a picture of 16,384 x 16,384 decodes, a flood of them does not."""
GRACE = 2.0
"""How many times its time limit a video may take before its process is ended: it looks at the time between frames."""


class DecodingProcesses:
    """``count`` processes at most: one is started now, the others when they are first needed.

    Args:
        view: what is looked at of a video.
        time_limit_s: for decoding one video.
    """

    def __init__(self, count: int, view: View, time_limit_s: float) -> None:
        self._view, self._limit_s = view, time_limit_s
        self._idle: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        for _ in range(count - 1):
            self._idle.put(None)
        self._idle.put(_Process())

    def read(self, path: Path) -> list[Piece]:
        """The pieces of a video; waits for a process that is free.

        Raises:
            VideoError: it is no video, takes too long, or crashes the decoder.
        """
        with self._process() as process:
            return process.read(path, self._view, self._limit_s)

    def close(self) -> None:
        """End those that are idle."""
        with suppress(queue.Empty):
            while True:
                process = self._idle.get_nowait()
                if process:
                    process.end()

    @contextmanager
    def _process(self) -> Iterator[_Process]:
        process = self._idle.get() or _Process()
        try:
            yield process
        finally:
            self._idle.put(process if process.alive else None)


class _Process:
    """One process and the pipe to it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def read(self, path: Path, view: View, limit_s: float) -> list[Piece]:
        deadline = time.monotonic() + GRACE * limit_s
        pieces: list[Piece] = []
        try:
            self._pipe.send((path, view, limit_s))
            while True:
                if not self._pipe.poll(max(0.0, deadline - time.monotonic())):
                    self.end()
                    raise TookTooLong(too_long(limit_s))
                answer = self._pipe.recv()
                if isinstance(answer, VideoError):
                    raise answer
                if answer is None:
                    return pieces
                pieces.append(answer)
        except (EOFError, ConnectionError):
            self.end()
            raise VideoError("ended the decoding process (a crash of the decoder, or too much memory)") from None

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _work(pipe: Connection) -> None:
    """Decode one video after another, until the pipe is closed."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    cv2.setNumThreads(1)
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            path, view, limit_s = pipe.recv()
            try:
                for piece in read_pieces(path, view, limit_s):
                    pipe.send(piece)
                pipe.send(None)
            except VideoError as error:
                pipe.send(error)
            except Exception as error:  # noqa: BLE001 - whatever a codec does, it must cost this video alone
                pipe.send(VideoError(f"{type(error).__name__}: {' '.join(str(error).split())}"))
