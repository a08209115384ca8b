"""Allowlists of containers and codecs, above all for uploads.

FFmpeg has 200 video decoders, most of them for games and tapes of the 1990s. Such unmaintained code is an attack
surface; two dozen decoders cover what cameras, phones, editors and the web produce.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Formats:
    """Names of FFmpeg's allowed demuxers and decoders; ``codecs`` None allows all decoders."""

    containers: frozenset[str]
    codecs: frozenset[str] | None = None

    def options(self) -> dict[str, str]:
        """Options for FFmpeg when it opens a file, since opening already decodes a little of each stream."""
        codecs = {} if self.codecs is None else {"codec_whitelist": ",".join(sorted(self.codecs))}
        return {"format_whitelist": ",".join(sorted(self.containers)), **codecs}


_CONTAINERS = "mov mp4 matroska webm avi mpeg mpegts flv asf ogg mxf dv ivf h264 hevc"
_PHONES_AND_WEB = "h264 hevc libdav1d av1 vp8 vp9 theora flv"
_CAMERAS = "mjpeg mpeg4 mpeg1video mpeg2video h263 dvvideo"
_EDITORS = "prores dnxhd"
_WINDOWS = "wmv1 wmv2 wmv3 vc1 msmpeg4 msmpeg4v2"
COMMON = Formats(
    frozenset(_CONTAINERS.split()), frozenset(f"{_PHONES_AND_WEB} {_CAMERAS} {_EDITORS} {_WINDOWS}".split())
)
"""Formats allowed for uploads. Audio and subtitles are never decoded."""
