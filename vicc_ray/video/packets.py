"""Packets of one video stream and the frames that a decoder makes of them, from the first that is whole."""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.codec.context import Flags
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from vicc_ray.video.containers import VideoError
from vicc_ray.video.encryption import is_encrypted

Items = Iterator[VideoFrame | str]
"""Frames, and after each packet what went wrong with it, or nothing."""
DECODES_FROM_GRAY = frozenset(
    ["flv", "h263", "h263i", "h263p", "mpeg4", "msmpeg4", "msmpeg4v1", "msmpeg4v2", "wmv1", "wmv2"]
)
"""FFmpeg's decoders that make up a grey picture where a frame refers to one that is not there; the others wait."""


def decode_packets(container: InputContainer, stream: VideoStream, from_gray: bool = False) -> Items:
    """Frames in display order; after each packet a string: what went wrong, or nothing.

    The first frame is one that refers to no other: what comes before it in the file would be differences from grey.
    They end with the first packet that is encrypted.

    Args:
        from_grey: take what comes before it too, as FFmpeg's command line does.

    Raises:
        VideoError: encrypted, with less than two frames before.
    """
    stream.codec_context.thread_count = 1  # one core a video: parallel work is over videos
    for other in container.streams:  # else a damaged packet of a track that nobody asked for ends them all
        other.discard = Discard.default if other.index == stream.index else Discard.all
    if from_gray:
        stream.codec_context.flags |= Flags.output_corrupt
    start, encrypted = _Start(stream, from_gray), False
    for packet in _packets(container, stream):
        if isinstance(packet, str):
            yield packet
            continue
        encrypted = packet is not None and is_encrypted(packet)
        clear = None if encrypted else packet
        start.note(clear)
        yield from (item for item in _frames(stream, clear) if isinstance(item, str) or start.is_reached_by(item))
        if encrypted:
            break
    if encrypted and start.frames < 2:
        raise VideoError("encrypted")
    yield start.problem


class _Start:
    """Finds the first frame that refers to no other, and counts what comes before it in vain."""

    def __init__(self, stream: VideoStream, from_gray: bool) -> None:
        self._reached = from_gray or stream.codec_context.name not in DECODES_FROM_GRAY
        self._key_seen = False
        self._packets = self._left_out = 0
        self.frames = 0
        """Frames from that one on, so far."""

    def note(self, packet: Packet | None) -> None:
        """Take the next packet."""
        if packet is not None:
            self._key_seen = self._key_seen or packet.is_keyframe
            self._packets += not self._key_seen

    def is_reached_by(self, frame: VideoFrame) -> bool:
        """Whether the next frame is that one, or comes after it."""
        self._reached = self._reached or frame.pict_type == PictureType.I
        self.frames += self._reached
        self._left_out += not self._reached
        return self._reached

    @property
    def problem(self) -> str:
        """Why there are fewer than two frames, where that is why; not every container tells which packets are key."""
        in_vain = max(self._packets, self._left_out)
        if in_vain and (self.frames == 0 or (self.frames == 1 and self._key_seen)):
            return f"no key frame to begin from in the first {in_vain} packets"
        return ""


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet | str | None]:
    """Packets up to the end of the file, or to the problem that ends them; then None."""
    try:
        for packet in container.demux(stream):
            if packet.size:  # to the decoder, an empty one would be the end
                yield packet
    except av.FFmpegError as error:
        yield str(error.strerror)
    except IndexError:  # at the end, of streams that appeared on the way and that PyAV has not counted
        pass
    yield None


def _frames(stream: VideoStream, packet: Packet | None) -> Items:
    """The frames that are ready after one more packet, or, after None, all that are left; then a string."""
    problem = ""
    try:
        yield from stream.codec_context.decode(packet)
    except av.FFmpegError as error:
        problem = str(error.strerror)
    yield problem
