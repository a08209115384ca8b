"""Whether a container says that its video is encrypted; without the key its frames are noise."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

_ENCRYPTED_TRACK = re.compile(rb"stsd.{12}(encv|drmi)", re.DOTALL)
"""The description of an MP4 track of common encryption (ISO/IEC 23001-7), or of Apple's shop."""
KEY_METADATA = ("enc_key_id", "ASF_Protection_Type", "ASF_Key_ID")
"""Metadata under which FFmpeg shows the keys of Matroska and of Windows Media."""
HEAD = 2**20
"""Bytes at the begin of a transport or program stream in which scrambled packets are counted."""
MOSTLY = 0.25
"""Share of scrambled packets from which on a stream is encrypted: of a DVD, not every sector is."""
TS_PACKET, TS_SYNC = 188, 0x47
_PES_HEADER = re.compile(rb"\x00\x00\x01[\xe0-\xef]..([\x80-\xbf])", re.DOTALL)
"""The header of a packet of video in a program stream of MPEG-2; the last byte has the scrambling control."""


def names_a_key(container: InputContainer, stream: VideoStream) -> bool:
    """Whether the metadata of the stream tell that it is encrypted."""
    return any(key in stream.metadata or key in container.metadata for key in KEY_METADATA)


def has_encrypted_track(source: Path | bytes) -> bool:
    """Whether an MP4 file describes a video track as encrypted; FFmpeg tells only that it does not know the codec."""
    if isinstance(source, bytes):
        return _ENCRYPTED_TRACK.search(source) is not None
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _ENCRYPTED_TRACK.search(content) is not None


def has_a_key(packet: Packet) -> bool:
    """Whether a packet comes with what its decryption needs (common encryption)."""
    return packet.has_sidedata("encryption_info")


def is_scrambled(source: Path | bytes, container: str) -> bool:
    """Whether the packets of a transport or program stream (FFmpeg's names mpegts, mpeg) are flagged as scrambled."""
    if container not in ("mpegts", "mpeg"):
        return False
    if isinstance(source, bytes):
        head = source[:HEAD]
    else:
        with source.open("rb") as file:
            head = file.read(HEAD)
    flags = _transport_flags(head) if container == "mpegts" else [m[1][0] & 0x30 for m in _PES_HEADER.finditer(head)]
    return sum(map(bool, flags)) > MOSTLY * len(flags)


def _transport_flags(head: bytes) -> list[int]:
    """The scrambling control of each packet with a payload, wherever the first begins and however far they stand."""
    for stride in (TS_PACKET, TS_PACKET + 4, TS_PACKET + 16):  # plain; with a time stamp (Blu-ray); with parity bytes
        for start in range(stride):
            if len(head) > start + 2 * stride and all(head[start + n * stride] == TS_SYNC for n in range(3)):
                packets = range(start, len(head) - 4, stride)
                return [head[at + 3] & 0xC0 for at in packets if head[at] == TS_SYNC and head[at + 3] & 0x10]
    return []
