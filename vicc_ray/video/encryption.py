"""Detection of encrypted videos, whose frames would decode to noise."""

from __future__ import annotations

import mmap
import re
from collections import Counter
from pathlib import Path

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

_ENCRYPTED_TRACK = re.compile(rb"stsd.{12}(encv|drmi)", re.DOTALL)
"""Sample description of an MP4 track with Common Encryption (ISO/IEC 23001-7) or Apple's FairPlay."""
KEY_METADATA = ("enc_key_id", "ASF_Protection_Type", "ASF_Key_ID")
"""Metadata names that FFmpeg uses for the keys of Matroska and Windows Media."""
HEAD = 2**20
"""Bytes at the start of a transport or program stream in which scrambled packets are counted."""
MIN_SCRAMBLED = 0.25
"""Fraction of scrambled packets from which a stream counts as encrypted; a DVD scrambles only some sectors."""
TS_PACKET, TS_SYNC = 188, 0x47
_PES_HEADER = re.compile(rb"\x00\x00\x01([\xe0-\xef])..([\x80-\xbf])", re.DOTALL)
"""Header of a video packet in an MPEG-2 program stream; the groups are the stream and the scrambling control."""


def has_key_metadata(container: InputContainer, stream: VideoStream) -> bool:
    """Whether the metadata of a stream names an encryption key."""
    return any(key in stream.metadata or key in container.metadata for key in KEY_METADATA)


def has_encrypted_track(source: Path | bytes) -> bool:
    """Whether an MP4 file has an encrypted video track; FFmpeg reports only an unknown codec."""
    if isinstance(source, bytes):
        return _ENCRYPTED_TRACK.search(source) is not None
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _ENCRYPTED_TRACK.search(content) is not None


def is_encrypted(packet: Packet) -> bool:
    """Whether a packet has the side data for its decryption (Common Encryption)."""
    return packet.has_sidedata("encryption_info")


def scrambled_ids(source: Path | bytes, container: str) -> frozenset[int]:
    """Ids of scrambled streams in a transport or program stream (FFmpeg's containers mpegts and mpeg)."""
    if container not in ("mpegts", "mpeg"):
        return frozenset()
    if isinstance(source, bytes):
        head = source[:HEAD]
    else:
        with source.open("rb") as file:
            head = file.read(HEAD)
    flags = _transport_flags(head) if container == "mpegts" else _program_flags(head)
    every, flagged = Counter(id for id, _ in flags), Counter(id for id, flag in flags if flag)
    return frozenset(id for id in flagged if flagged[id] > MIN_SCRAMBLED * every[id])


def _program_flags(head: bytes) -> list[tuple[int, int]]:
    """FFmpeg's stream id and the scrambling control of each video packet."""
    return [(0x100 | match[1][0], match[2][0] & 0x30) for match in _PES_HEADER.finditer(head)]


def _transport_flags(head: bytes) -> list[tuple[int, int]]:
    """PID and scrambling control of each packet with a payload, for any offset of the first and any packet size."""
    for stride in (TS_PACKET, TS_PACKET + 4, TS_PACKET + 16):  # plain; with timestamps (Blu-ray); with parity bytes
        for start in range(stride):
            if len(head) > start + 2 * stride and all(head[start + n * stride] == TS_SYNC for n in range(3)):
                packets = [head[at : at + 4] for at in range(start, len(head) - 4, stride)]
                return [
                    (int.from_bytes(packet[1:3], "big") & 0x1FFF, packet[3] & 0xC0)
                    for packet in packets
                    if packet[0] == TS_SYNC and packet[3] & 0x10
                ]
    return []
