"""Untrusted files are decoded in a sandboxed process whose replies are validated."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from tests.odd_videos import write_stream
from tests.search.decoding import pid_of, read
from tests.search.made import SPEC
from tests.videos import moving
from vicc_ray.search.server import decode_protocol as protocol
from vicc_ray.search.server import decode_worker
from vicc_ray.search.server.decode_pool import DecodePool
from vicc_ray.search.server.sandbox import isolated_command
from vicc_ray.search.windows import read_window_chunks
from vicc_ray.video.decode import DecodeTimeoutError, VideoError
from vicc_ray.video.formats import COMMON


@pytest.mark.slow
def test_a_process_decodes_an_unnamed_file(video: Path) -> None:
    processes = DecodePool(1, SPEC, 60)
    expected = list(read_window_chunks(video, SPEC, 60))
    with video.open("rb") as file:
        video.unlink()
        for _ in range(2):
            (chunk,) = processes.read(file)
            for name in ("frames", "places", "spans"):
                found, wanted = getattr(chunk, name), getattr(expected[0], name)
                assert found.dtype == wanted.dtype and np.array_equal(found, wanted)
            assert (chunk.seconds, chunk.thumbnail) == (expected[0].seconds, expected[0].thumbnail)
    processes.close()


@pytest.mark.slow
def test_a_hung_or_killed_decoder_is_replaced(video: Path) -> None:
    processes = DecodePool(1, SPEC, 60)
    assert len(read(processes, video)) == 1
    first = pid_of(processes)
    os.kill(first, signal.SIGSTOP)
    processes._limit_s = 0.3
    with pytest.raises(DecodeTimeoutError):
        read(processes, video)
    processes._limit_s = 60
    assert len(read(processes, video)) == 1
    second = pid_of(processes)
    os.kill(second, signal.SIGKILL)
    os.waitid(os.P_PID, second, os.WEXITED | os.WNOWAIT)
    assert len(read(processes, video)) == 1
    third = pid_of(processes)
    processes.close()
    for pid in (first, second, third):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


class Bomb:
    """Object that runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {os.environ['BOMB']}",)


HEAD = protocol._HEAD
CHUNK = HEAD.pack(protocol.CHUNK, 4, 1, 1.0, 4)
PLACES = np.arange(4, dtype="<i4").tobytes()
FRAMES, SPANS = bytes(4 * SPEC.size**2 * 3), np.float32([0, 1]).tobytes()
RIGHT = CHUNK + FRAMES + PLACES + SPANS + b"film"
INVALID_REPLIES = {
    "nothing": b"",
    "half a head": CHUNK[:7],
    "another kind": HEAD.pack(77, 0, 0, 0.0, 0),
    "no chunk at all": HEAD.pack(protocol.END, 0, 0, 0.0, 0),
    "too many frames": HEAD.pack(protocol.CHUNK, 2**32 - 1, 1, 1.0, 0),
    "too many windows": HEAD.pack(protocol.CHUNK, 4, 2**31, 1.0, 0),
    "no frames": HEAD.pack(protocol.CHUNK, 0, 0, 1.0, 0),
    "endless": HEAD.pack(protocol.CHUNK, 4, 1, float("inf"), 0),
    "no length": HEAD.pack(protocol.CHUNK, 4, 1, float("nan"), 0),
    "a large thumbnail": HEAD.pack(protocol.CHUNK, 4, 1, 1.0, 2**31),
    "a long message": HEAD.pack(protocol.NOT_A_VIDEO, 0, 0, 0.0, 2**31),
    "frames that are not there": CHUNK + FRAMES + np.int32([0, 1, 2, 4]).tobytes() + SPANS + b"film",
    "frames before the first": CHUNK + FRAMES + np.int32([-1, 1, 2, 3]).tobytes() + SPANS + b"film",
    "spans that are not finite": CHUNK + FRAMES + PLACES + np.float32([np.nan, 1]).tobytes() + b"film",
    "spans that end first": CHUNK + FRAMES + PLACES + np.float32([2, 1]).tobytes() + b"film",
    "chunks without end": RIGHT * 1000,
    "a pickle": b"",
}
HOSTILE = """
import socket, sys
pipe = socket.socket(fileno=int(sys.argv[-1]))
while socket.recv_fds(pipe, 4096, 1)[0]:
    try:
        pipe.sendall(bytes.fromhex(sys.argv[1]))
    except OSError:
        pass
    pipe.shutdown(socket.SHUT_WR)
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", INVALID_REPLIES)
def test_an_invalid_reply_ends_the_process_and_fails_only_that_video(
    video: Path, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOMB", str(tmp_path / "bomb"))
    answer = INVALID_REPLIES[what]
    if what == "a pickle":
        pickled = pickle.dumps(Bomb())
        answer = struct.pack("!i", len(pickled)) + pickled  # as multiprocessing sends it
    script = tmp_path / "hostile.py"
    script.write_text(HOSTILE.replace("sys.argv[1]", repr(answer[: 2**20].hex())))
    processes = DecodePool(1, SPEC, 5, (sys.executable, str(script)))
    hostile = pid_of(processes)
    with pytest.raises(VideoError):
        read(processes, video)
    with pytest.raises(ProcessLookupError):
        os.kill(hostile, 0)
    assert not (tmp_path / "bomb").exists()
    if what == "a pickle":
        processes._worker = isolated_command(decode_worker.__name__)
        assert len(read(processes, video)) == 1
    processes.close()


def test_unrequested_data_is_not_taken_for_the_reply_to_another_video(video: Path, tmp_path: Path) -> None:
    more = RIGHT + HEAD.pack(protocol.END, 0, 0, 0.0, 0)
    for rest in (b"", more):
        script = tmp_path / "hostile.py"
        script.write_text(HOSTILE.replace("sys.argv[1]", repr((more + rest).hex())).replace("pipe.shutdown", "id"))
        processes = DecodePool(1, SPEC, 5, (sys.executable, str(script)))
        (chunk,) = read(processes, video)
        assert (chunk.thumbnail, chunk.spans.tolist(), chunk.places.tolist()) == (
            b"film",
            [[0, 1]],
            [[0, 1, 2, 3]],
        )
        before = pid_of(processes)
        read(processes, video)
        assert (pid_of(processes) == before) == (rest == b"")
        processes.close()


def test_messages_are_short_and_printable() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        protocol.send_text(theirs, protocol.NOT_A_VIDEO, "\x1b]0;title\x07\u202e" + "x" * 5000)
        words = protocol.receive_reply(ours, SPEC, time.monotonic() + 10).message
    assert words.isprintable() and len(words) <= protocol.MAX_TEXT_BYTES


WRITTEN = {
    "libx264": "mp4 mkv mov ts flv 3gp h264",
    "libx265": "mp4 hevc",
    "libsvtav1": "mp4 webm",
    "libvpx": "webm ivf",
    "libvpx-vp9": "webm",
    "mpeg4": "avi mp4",
    "mpeg2video": "mpg ts mxf",
    "mpeg1video": "mpg",
    **{"mjpeg": "avi", "prores": "mov", "dnxhd": "mov", "flv": "flv", "h263": "3gp", "dvvideo": "dv"},
    **{"wmv1": "wmv", "wmv2": "wmv", "msmpeg4": "avi", "msmpeg4v2": "avi"},
}
FORMATS = {"mjpeg": "yuvj420p", "prores": "yuv422p10le", "dnxhd": "yuv422p"}
OPTIONS = {"dnxhd": {"profile": "dnxhr_sq"}, "libsvtav1": {"preset": "12"}}
SIZES = {"h263": (96, 128), "dvvideo": (576, 720), "dnxhd": (128, 256)}


@pytest.fixture(scope="module")
def decoding() -> Iterator[DecodePool]:
    """A real process."""
    processes = DecodePool(1, SPEC, 60)
    yield processes
    processes.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("codec", "suffix"), [(codec, suffix) for codec, all in WRITTEN.items() for suffix in all.split()]
)
def test_common_codecs_and_containers_are_accepted(
    decoding: DecodePool, codec: str, suffix: str, tmp_path: Path
) -> None:
    frames = moving(6, *SIZES.get(codec, (64, 96)))
    path = tmp_path / f"a.{suffix}"
    write_stream(path, frames, codec, pix_fmt=FORMATS.get(codec, "yuv420p"), **OPTIONS.get(codec, {}))
    (chunk,) = read(decoding, path)
    assert len(chunk.thumbnail) > 300


@pytest.mark.parametrize(
    ("codec", "suffix", "format"),
    [
        ("ffv1", "mkv", "yuv420p"),
        ("cinepak", "avi", "rgb24"),
        ("snow", "avi", "yuv420p"),
        ("huffyuv", "avi", "yuv422p"),
    ],
)
def test_other_codecs_are_refused_only_in_uploads_and_the_error_says_how_to_convert(
    decoding: DecodePool, codec: str, suffix: str, format: str, tmp_path: Path
) -> None:
    path = write_stream(tmp_path / f"a.{suffix}", moving(6, 64, 96), codec, pix_fmt=format)
    with pytest.raises(VideoError, match=rf"{codec}.*allowed: .*h264.*ffmpeg -i"):
        read(decoding, path)
    assert len(list(read_window_chunks(path, SPEC, 60))) == 1


def test_other_containers_are_refused_only_in_uploads_and_the_error_says_how_to_convert(
    decoding: DecodePool, tmp_path: Path
) -> None:
    for name, codec, format in (("a.gif", "gif", "rgb8"), ("a.nut", "libx264", "yuv420p")):
        path = write_stream(tmp_path / name, moving(6, 64, 96), codec, pix_fmt=format)
        with pytest.raises(VideoError, match=r"allowed: .*matroska.*ffmpeg -i"):
            read(decoding, path)
        assert len(list(read_window_chunks(path, SPEC, 60))) == 1


def test_a_stream_of_a_refused_codec_is_not_probed(decoding: DecodePool, tmp_path: Path) -> None:
    """By default FFmpeg decodes the start of each stream when it opens a file."""
    path = write_stream(tmp_path / "a.mkv", moving(6, 64, 96), "ffv1")
    level = av.logging.get_level()
    av.logging.set_level(av.logging.VERBOSE)
    try:
        with av.logging.Capture(local=True) as lines, pytest.raises(VideoError):
            list(read_window_chunks(path, SPEC, 60, formats=COMMON))
    finally:
        av.logging.set_level(level)
    assert any("whitelist" in message for _, name, message in lines if name == "ffv1")
