"""Opening of video files: which containers are read, and why another file is not."""

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
"""FFmpeg's demuxers that may open a file: those of videos that read this one file and nothing else. Never playlists and
lists (hls, concat, sdp, vobsub), series of files (image2, mlv) and scripts: they would read other files or addresses.
Those that take nearly anything for theirs (tty, rawvideo, tiertexseq) are not among them either."""
ANY = Formats(CONTAINERS)
"""Of one's own videos."""
_REFUSED = "Format not on whitelist"
"""How FFmpeg's message begins that it logs, under the demuxer's name, where the list does not have it."""
ANY_METADATA: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
"""What has PyAV open a file whose title is not UTF-8; from 19 on it does so by itself, and has no such argument."""


class VideoError(Exception):
    """A file gives no clip; the message is one line of plain words."""


def open_container(source: Path | bytes, formats: Formats = ANY) -> InputContainer:
    """A video file, or its bytes, of one of the containers of ``formats``, opened for reading; to be closed by whoever
    asked.

    Raises:
        VideoError: no such file, not a regular one, empty, not a video, of a container that is not read.
    """
    with _plain_words(source, formats):
        if isinstance(source, Path) and not stat.S_ISREG(source.stat().st_mode):
            raise VideoError("not a regular file")  # opening a named pipe would wait for ever
        if (len(source) if isinstance(source, bytes) else source.stat().st_size) == 0:
            raise VideoError("empty file")
        return _open(source, formats)


@contextmanager
def _plain_words(source: Path | bytes, formats: Formats = ANY) -> Iterator[None]:
    """Errors of reading a file made VideoErrors."""
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
        return f"not a video but a picture, or an animation that FFmpeg does not read ({kind})"
    if formats is not ANY and not CONTAINERS.isdisjoint(name.split(",")):
        return f"a file of the form {kind} ({name}); allowed: {_listed(formats.containers)}; {_convert()}"
    return f"not a video that is read here: {kind} ({name})"


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))


def _convert() -> str:
    return "convert it: ffmpeg -i VIDEO -c:v libx264 -an converted.mp4"


def _refused_demuxer(source: Path | bytes, formats: Formats) -> str:
    """The demuxer that FFmpeg would have taken, where the list does not have it; its log alone tells."""
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
    """The streams that may hold the video, in the order of the file, from which the container was opened.

    Raises:
        VideoError: there is none, or none that can be decoded: all are encrypted, or of codecs that are unknown or not
            among ``formats``.
    """
    # The cover picture of a song is a video stream too, of one frame.
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
        raise VideoError("compressed in a way that FFmpeg does not know, or damaged")
    return _of_formats(known, formats)


def _of_formats(streams: list[VideoStream], formats: Formats) -> list[VideoStream]:
    if formats.codecs is None:
        return streams
    among = [stream for stream in streams if stream.codec_context.codec.name in formats.codecs]
    if not among:
        found = streams[0].codec_context.codec.name
        raise VideoError(f"compressed as {found}; allowed: {_listed(formats.codecs)}; {_convert()}")
    return among


def _is_encrypted_mp4(container: InputContainer, source: Path | bytes) -> bool:
    with _plain_words(source):
        return "mp4" in container.format.name and has_encrypted_track(source)
