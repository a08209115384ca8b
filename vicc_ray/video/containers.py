"""Opening of video files: an allowlist of containers, and the reasons for refusal."""

from __future__ import annotations

import io
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from vicc_ray.video.encryption import has_encrypted_track, has_key_metadata, scrambled_ids
from vicc_ray.video.formats import Formats

_GENERAL = (
    "mov mp4 3gp avi matroska webm mpeg mpegts flv asf ogg mxf rm nut ivf wtv dv gif apng yuv4mpegpipe swf kux ivr"
)
_RAW = (
    "h264 hevc vvc evc m4v mpegvideo h261 h263 vc1 vc1test obu av1 apv avs2 avs3 cavsvideo dirac dnxhd ipu mjpeg "
    "mjpeg_2000"
)
_CAMERAS = "cine dhav gxf hxvs ifv iv8 lmlm4 luodat lvf lxf mxg nc nsv nuv pva r3d ser ty"
_GAMES = (
    "4xm anm argo_brp avs bethsoftvid bfi bink dfa dsicin dxa ea film_cpk filmstrip flic frm gdv hnm idcin ipmovie jv "
    "mods moflex mtv mv paf pdv pmp psxstr rl2 roq rpl siff smjpeg smk smush thp txd usm vividas vivo wc3movie wsvqa "
    "xmv yop"
)
CONTAINERS = frozenset(f"{_GENERAL} {_RAW} {_CAMERAS} {_GAMES}".split())
"""Allowed demuxers of FFmpeg: those of videos that read only this file. Playlists (hls, concat, sdp, vobsub), file
sequences (image2, mlv) and scripts are excluded because they read other files or addresses. Demuxers that accept nearly
any file (tty, rawvideo, tiertexseq) are excluded too."""
ANY = Formats(CONTAINERS)
"""Formats for the user's own videos: all codecs."""
CONVERT_HINT = "convert it: ffmpeg -i VIDEO -c:v libx264 -an converted.mp4"
_REFUSED = "Format not on whitelist"
"""Start of the message that FFmpeg logs, under the demuxer's name, if the demuxer is not allowed."""
ANY_METADATA: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
"""Argument that lets PyAV open a file whose title is not UTF-8; from version 19 on that is the default."""


class VideoError(Exception):
    """A video cannot be used; the message is one line for the user."""


def open_container(source: Path | bytes, formats: Formats = ANY) -> InputContainer:
    """Open a video file, or its bytes, for reading; the caller closes it.

    Raises:
        VideoError: the file does not exist, is not a regular file, is empty, is not a video, or its container is not in
            ``formats``.
    """
    with _plain_words(source, formats):
        if isinstance(source, Path) and not stat.S_ISREG(source.stat().st_mode):
            raise VideoError("not a regular file")  # opening a named pipe would block
        if (len(source) if isinstance(source, bytes) else source.stat().st_size) == 0:
            raise VideoError("empty file")
        return _open(source, formats)


@contextmanager
def _plain_words(source: Path | bytes, formats: Formats = ANY) -> Iterator[None]:
    """Convert errors of reading a file to VideoError."""
    try:
        yield
    except FileNotFoundError:
        raise VideoError("no such file") from None
    except OSError as error:
        raise VideoError(f"cannot be read ({error.strerror})") from None
    except av.FFmpegError as error:
        raise VideoError(_reason(source, formats, error)) from None


def _open(source: Path | bytes, formats: Formats) -> InputContainer:
    file = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    return av.open(file, mode="r", options=formats.options(), **ANY_METADATA)


def _reason(source: Path | bytes, formats: Formats, error: av.FFmpegError) -> str:
    name = _refused_demuxer(source, formats) if isinstance(error, av.ArgumentError) else ""
    if not name:
        return f"not a video, or damaged from the start ({error.strerror})"
    kind = av.ContainerFormat(name.partition(",")[0], "r").long_name
    if name.endswith("_pipe"):
        return f"not a video but an image, or an animation that FFmpeg does not read ({kind})"
    if formats is not ANY and not CONTAINERS.isdisjoint(name.split(",")):
        return f"the container is {kind} ({name}); allowed: {_listed(formats.containers)}; {CONVERT_HINT}"
    return f"not a video that can be read: {kind} ({name})"


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))


def _refused_demuxer(source: Path | bytes, formats: Formats) -> str:
    """Demuxer that FFmpeg would have used if it were allowed, from FFmpeg's log; "" if there is none."""
    level, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture(local=True) as lines:
            _open(source, formats).close()
    except (av.FFmpegError, OSError):
        pass
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skips)
    return next((name for _, name, message in lines if message.startswith(_REFUSED)), "")


def video_streams(container: InputContainer, source: Path | bytes, formats: Formats = ANY) -> list[VideoStream]:
    """Video streams that can be decoded, in the order of the file.

    Args:
        source: file or bytes that the container was opened from.

    Raises:
        VideoError: there is none: all are encrypted, or their codecs are unknown or not in ``formats``.
    """
    # The cover image of a song is a video stream of one frame.
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        raise VideoError("no video stream" + (" (audio only)" if container.streams.audio else ""))
    with _plain_words(source):
        scrambled = scrambled_ids(source, container.format.name)
    clear = [stream for stream in streams if stream.id not in scrambled and not has_key_metadata(container, stream)]
    if not clear:
        raise VideoError("encrypted")
    known = [stream for stream in clear if stream.codec_context is not None]
    if not known and _is_encrypted_mp4(container, source):
        raise VideoError("encrypted")
    if not known:
        raise VideoError("unknown codec, or damaged")
    return _of_formats(known, formats)


def _of_formats(streams: list[VideoStream], formats: Formats) -> list[VideoStream]:
    if formats.codecs is None:
        return streams
    allowed = [stream for stream in streams if stream.codec_context.codec.name in formats.codecs]
    if not allowed:
        codec = streams[0].codec_context.codec.name
        raise VideoError(f"the codec is {codec}; allowed: {_listed(formats.codecs)}; {CONVERT_HINT}")
    return allowed


def _is_encrypted_mp4(container: InputContainer, source: Path | bytes) -> bool:
    with _plain_words(source):
        return "mp4" in container.format.name and has_encrypted_track(source)
