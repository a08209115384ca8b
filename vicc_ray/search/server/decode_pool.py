"""Pool of sandboxed decoding processes for untrusted files; one that hangs or crashes is replaced.

A process decodes one file at a time in a sandbox (:mod:`vicc_ray.search.server.sandbox`). Its replies are plain bytes
that are validated before use (:mod:`vicc_ray.search.server.decode_protocol`).
"""

from __future__ import annotations

import queue
import select
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

from vicc_ray.search.server import decode_worker
from vicc_ray.search.server.decode_protocol import (
    CHUNK,
    NOT_A_VIDEO,
    TOO_LONG,
    ProtocolError,
    receive_reply,
    send_request,
)
from vicc_ray.search.server.decode_worker import GRACE
from vicc_ray.search.server.sandbox import bare_environment, isolated_command
from vicc_ray.search.window_spec import WindowSpec
from vicc_ray.search.windows import STRETCH, WindowChunk
from vicc_ray.video.decode import DecodeTimeoutError, VideoError, timeout_reason

START_S = 30.0
"""Extra seconds for the start of a process."""


class DecodePool:
    """Pool of up to ``count`` processes; one starts now, the others on demand.

    Args:
        spec: window specification.
        timeout_s: time limit for decoding one video.
        worker: command of a process, without the descriptor of its socket; None: :mod:`decode_worker`.
    """

    def __init__(self, count: int, spec: WindowSpec, timeout_s: float, worker: Sequence[str] | None = None) -> None:
        self._spec, self._limit_s = spec, timeout_s
        self._worker = worker or isolated_command(decode_worker.__name__)
        self._idle: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        for _ in range(count - 1):
            self._idle.put(None)
        self._idle.put(_Process(self._worker))

    def read(self, file: IO[bytes]) -> list[WindowChunk]:
        """Chunks of a video, an open file that may be unnamed; waits for a free process.

        Raises:
            VideoError: the file is not a video, takes too long, or crashes the decoder.
        """
        with self._process() as process:
            return process.read(file, self._spec, self._limit_s)

    def close(self) -> None:
        """End idle processes; busy ones end when their socket closes."""
        with suppress(queue.Empty):
            while True:
                process = self._idle.get_nowait()
                if process:
                    process.end()

    @contextmanager
    def _process(self) -> Iterator[_Process]:
        process = self._idle.get()
        try:
            process = process if process and process.is_ready else _Process(self._worker)
            yield process
        finally:
            self._idle.put(process if process and process.is_alive else None)


class _Process:
    """One process and the socket to it."""

    def __init__(self, worker: Sequence[str]) -> None:
        self._pipe, theirs = socket.socketpair()
        command = [*worker, str(theirs.fileno())]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env=bare_environment(),
        )
        theirs.close()
        self._is_new = True

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def is_ready(self) -> bool:
        """Whether the process waits for a request; one that sends data unasked is killed."""
        readable, _, _ = select.select([self._pipe], [], [], 0)
        if readable:
            self.end()
        return not readable

    def read(self, file: IO[bytes], spec: WindowSpec, limit_s: float) -> list[WindowChunk]:
        """Chunks of a video; afterwards the process is idle again, or dead."""
        deadline = time.monotonic() + GRACE * limit_s + (START_S if self._is_new else 0)
        try:
            self._pipe.settimeout(max(0.001, deadline - time.monotonic()))
            send_request(self._pipe, file.fileno(), spec, limit_s)
            chunks = self._receive(spec, limit_s, deadline)
            self._is_new = False
            return chunks
        except TimeoutError:
            self.end()
            raise DecodeTimeoutError(timeout_reason(limit_s)) from None
        except (EOFError, ConnectionError):
            self.end()
            raise VideoError("ended the decoding process (a crash of the decoder, or too much memory)") from None
        except ProtocolError as error:
            self.end()
            raise VideoError(f"made the decoder send an invalid reply ({error})") from None

    def _receive(self, spec: WindowSpec, limit_s: float, deadline: float) -> list[WindowChunk]:
        chunks: list[WindowChunk] = []
        while True:
            reply = receive_reply(self._pipe, spec, deadline)
            if reply.chunk and len(chunks) <= spec.max_frames // STRETCH and not (chunks and reply.chunk.thumbnail):
                chunks.append(reply.chunk)
            elif reply.kind == CHUNK:
                raise ProtocolError("more chunks than the video may have")
            elif reply.kind == TOO_LONG:
                raise DecodeTimeoutError(timeout_reason(limit_s))
            elif reply.kind == NOT_A_VIDEO:
                raise VideoError(reply.message)
            elif chunks:
                return chunks
            else:
                raise ProtocolError("no chunks")

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._pipe.close()
