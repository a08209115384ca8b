"""Decoding of one stream's packets to frames, starting with the first that decodes completely."""

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
"""Frames and, after each packet, its error message or ""."""
DECODES_FROM_GRAY = frozenset(
    ["flv", "h263", "h263i", "h263p", "mpeg4", "msmpeg4", "msmpeg4v1", "msmpeg4v2", "wmv1", "wmv2"]
)
"""FFmpeg's decoders that replace a missing reference frame by gray; the others wait for a key frame."""


def decode_packets(container: InputContainer, stream: VideoStream, from_gray: bool = False) -> Items:
    """Decode a stream; yield frames in display order and, after each packet, its error message or "".

    The first frame is an intra frame, because frames before it would be differences from gray. Decoding stops at the
    first encrypted packet.

    Args:
        from_gray: whether to include frames before the first intra frame, as FFmpeg's command line does.

    Raises:
        VideoError: the stream is encrypted, with fewer than two clear frames.
    """
    stream.codec_context.thread_count = 1  # one core per video; parallelism is over videos
    for other in container.streams:  # otherwise a damaged packet of an unused track would end all of them
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
    """Finds the first intra frame, and counts the packets and frames before it."""

    def __init__(self, stream: VideoStream, from_gray: bool) -> None:
        self._reached = from_gray or stream.codec_context.name not in DECODES_FROM_GRAY
        self._key_seen = False
        self._packets = self._skipped = 0
        self.frames = 0
        """Number of frames so far, from the first intra frame on."""

    def note(self, packet: Packet | None) -> None:
        """Count the next packet."""
        if packet is not None:
            self._key_seen = self._key_seen or packet.is_keyframe
            self._packets += not self._key_seen

    def is_reached_by(self, frame: VideoFrame) -> bool:
        """Whether the next frame is the first intra frame, or after it."""
        self._reached = self._reached or frame.pict_type == PictureType.I
        self.frames += self._reached
        self._skipped += not self._reached
        return self._reached

    @property
    def problem(self) -> str:
        """Error message if a missing key frame left fewer than two frames; not every container flags key frames."""
        skipped = max(self._packets, self._skipped)
        if skipped and (self.frames == 0 or (self.frames == 1 and self._key_seen)):
            return f"no key frame in the first {skipped} packets"
        return ""


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet | str | None]:
    """Packets up to the end of the file, or to an error, whose message is yielded; then None."""
    try:
        for packet in container.demux(stream):
            if packet.size:  # an empty packet would flush the decoder
                yield packet
    except av.FFmpegError as error:
        yield str(error.strerror)
    except IndexError:  # at the end, for streams that appear later and that PyAV has not counted
        pass
    yield None


def _frames(stream: VideoStream, packet: Packet | None) -> Items:
    """Decode a packet and yield the frames that are ready, then an error message or ""; None flushes the decoder."""
    problem = ""
    try:
        yield from stream.codec_context.decode(packet)
    except av.FFmpegError as error:
        problem = str(error.strerror)
    except ValueError as error:  # PyAV 19, at the second packet for a decoder that did not open
        problem = str(error)
    yield problem
