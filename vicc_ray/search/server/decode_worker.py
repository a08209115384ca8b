"""The process that decodes files of strangers; its argument is the descriptor of a socket.

It is started anew, without the memory and the environment of the server; it gets opened files over a socket, and
answers as :mod:`vicc_ray.search.server.decode_protocol` says.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

import cv2
import numpy as np

from vicc_ray.search.server.decode_protocol import END, NO_VIDEO, TOO_LONG, receive_request, send_piece, send_words
from vicc_ray.search.server.sandbox import give_up_rights
from vicc_ray.search.thumbnail import RATE, SIDE, make_film
from vicc_ray.search.window_spec import View
from vicc_ray.search.windows import read_pieces
from vicc_ray.video.decode import DecodeTimeoutError, VideoError
from vicc_ray.video.formats import COMMON

GRACE = 2.0
"""How many times its time limit a video may take before its process is ended: it looks at the time between frames."""
LAST_S = 5.0
"""Seconds after which it ends by itself, should the server be gone that would have ended it."""


def main() -> None:
    """Decode one video after another, until the socket is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends it
    pipe = socket.socket(fileno=int(sys.argv[1]))
    cv2.setNumThreads(1)
    _warm_up()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # what a decoder says is for no terminal
    give_up_rights()
    while request := receive_request(pipe):
        file, view, limit_s = request
        signal.setitimer(signal.ITIMER_REAL, GRACE * limit_s + LAST_S)
        _answer(pipe, _content(file), view, limit_s)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _warm_up() -> None:
    """Decode a film once: what is loaded when it is first used cannot be loaded later."""
    black = [np.zeros((SIDE, SIDE, 3), np.uint8)] * 4
    view = View(frames=2, step=1, size=16, overlap=0.0, max_windows=1, max_frames=2)
    for _ in read_pieces(make_film(black, RATE), view, LAST_S, formats=COMMON):
        pass


def _content(file: int) -> bytes:
    """All bytes of an opened file: so nothing needs to be opened here."""
    with os.fdopen(file, "rb") as opened:
        opened.seek(0)
        return opened.read()


def _answer(pipe: socket.socket, video: bytes, view: View, limit_s: float) -> None:
    try:
        for piece in read_pieces(video, view, limit_s, formats=COMMON):
            send_piece(pipe, piece)
        send_words(pipe, END)
    except DecodeTimeoutError:
        send_words(pipe, TOO_LONG)
    except VideoError as error:
        send_words(pipe, NO_VIDEO, str(error))
    except ConnectionError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a codec does, it must cost this video alone
        send_words(pipe, NO_VIDEO, f"{type(error).__name__}: {' '.join(str(error).split())}")
