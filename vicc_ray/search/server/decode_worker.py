"""Process that decodes untrusted files; its argument is the descriptor of a socket.

It is not forked, so it has neither the memory nor the environment of the server. It receives open files over the
socket, and replies as :mod:`vicc_ray.search.server.decode_protocol` specifies.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

import cv2
import numpy as np

from vicc_ray.search.server.decode_protocol import END, NOT_A_VIDEO, TOO_LONG, receive_request, send_chunk, send_text
from vicc_ray.search.server.sandbox import drop_privileges
from vicc_ray.search.thumbnail import RATE, SIDE, make_thumbnail
from vicc_ray.search.window_spec import WindowSpec
from vicc_ray.search.windows import read_window_chunks
from vicc_ray.video.decode import DecodeTimeoutError, VideoError
from vicc_ray.video.formats import COMMON

GRACE = 2.0
"""Multiple of the time limit after which a process is killed; it checks the limit itself between frames."""
LAST_S = 5.0
"""Further seconds after which the process ends itself, in case the server is gone."""


def main() -> None:
    """Decode one video after another, until the socket is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends it
    pipe = socket.socket(fileno=int(sys.argv[1]))
    cv2.setNumThreads(1)
    _warm_up()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # decoder messages must not reach the terminal
    drop_privileges()
    while request := receive_request(pipe):
        file, spec, limit_s = request
        signal.setitimer(signal.ITIMER_REAL, GRACE * limit_s + LAST_S)
        _answer(pipe, _content(file), spec, limit_s)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _warm_up() -> None:
    """Decode a thumbnail once, because libraries that load on first use cannot be loaded in the sandbox."""
    black = [np.zeros((SIDE, SIDE, 3), np.uint8)] * 4
    spec = WindowSpec(frames=2, step=1, size=16, overlap=0.0, max_windows=1, max_frames=2, crop_share=1.0)
    for _ in read_window_chunks(make_thumbnail(black, RATE), spec, LAST_S, formats=COMMON):
        pass


def _content(file: int) -> bytes:
    """Bytes of an open file; the sandbox cannot open files."""
    with os.fdopen(file, "rb") as opened:
        opened.seek(0)
        return opened.read()


def _answer(pipe: socket.socket, video: bytes, spec: WindowSpec, limit_s: float) -> None:
    try:
        for chunk in read_window_chunks(video, spec, limit_s, formats=COMMON):
            send_chunk(pipe, chunk)
        send_text(pipe, END)
    except DecodeTimeoutError:
        send_text(pipe, TOO_LONG)
    except VideoError as error:
        send_text(pipe, NOT_A_VIDEO, str(error))
    except ConnectionError:
        raise
    except Exception as error:  # noqa: BLE001 - a codec may raise anything; only this video fails
        send_text(pipe, NOT_A_VIDEO, f"{type(error).__name__}: {' '.join(str(error).split())}")
