"""Which containers and codecs a file may have, where strangers send it.

FFmpeg has 200 decoders of video, most of them for games and tapes of thirty years ago: code that hardly anybody looks
at any more but who searches for faults. What cameras, phones, editors and the web write needs two dozen.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Formats:
    """FFmpeg's names of the demuxers and decoders that may be used; ``codecs`` None: all."""

    containers: frozenset[str]
    codecs: frozenset[str] | None = None

    def options(self) -> dict[str, str]:
        """What FFmpeg is told when it opens a file: it decodes a little of each stream before anybody asks."""
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
"""What may be sent to a server. Of sound and subtitles nothing is decoded."""
