"""Whether a container says that its video is encrypted; without the key its frames are noise."""

from __future__ import annotations

import mmap
import re
from collections import Counter
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
"""Share of its packets from which on a stream of scrambled ones is encrypted: of a DVD, not every sector is."""
TS_PACKET, TS_SYNC = 188, 0x47
_PES_HEADER = re.compile(rb"\x00\x00\x01([\xe0-\xef])..([\x80-\xbf])", re.DOTALL)
"""The header of a packet of video in a program stream of MPEG-2: its stream, and the byte of scrambling control."""


def has_key_metadata(container: InputContainer, stream: VideoStream) -> bool:
    """Whether the metadata of the stream tell that it is encrypted."""
    return any(key in stream.metadata or key in container.metadata for key in KEY_METADATA)


def has_encrypted_track(source: Path | bytes) -> bool:
    """Whether an MP4 file describes a video track as encrypted; FFmpeg tells only that it does not know the codec."""
    if isinstance(source, bytes):
        return _ENCRYPTED_TRACK.search(source) is not None
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _ENCRYPTED_TRACK.search(content) is not None


def is_encrypted(packet: Packet) -> bool:
    """Whether a packet comes with what its decryption needs (common encryption)."""
    return packet.has_sidedata("encryption_info")


def scrambled_ids(source: Path | bytes, container: str) -> frozenset[int]:
    """Streams of a transport or program stream (FFmpeg's names mpegts, mpeg) whose packets are flagged as scrambled."""
    if container not in ("mpegts", "mpeg"):
        return frozenset()
    if isinstance(source, bytes):
        head = source[:HEAD]
    else:
        with source.open("rb") as file:
            head = file.read(HEAD)
    flags = _transport_flags(head) if container == "mpegts" else _program_flags(head)
    every, flagged = Counter(id for id, _ in flags), Counter(id for id, flag in flags if flag)
    return frozenset(id for id in flagged if flagged[id] > MOSTLY * every[id])


def _program_flags(head: bytes) -> list[tuple[int, int]]:
    """Of each packet of video, the stream as FFmpeg names it, and the scrambling control."""
    return [(0x100 | match[1][0], match[2][0] & 0x30) for match in _PES_HEADER.finditer(head)]


def _transport_flags(head: bytes) -> list[tuple[int, int]]:
    """Of each packet with a payload, wherever the first begins and however far they stand: PID, scrambling control."""
    for stride in (TS_PACKET, TS_PACKET + 4, TS_PACKET + 16):  # plain; with a time stamp (Blu-ray); with parity bytes
        for start in range(stride):
            if len(head) > start + 2 * stride and all(head[start + n * stride] == TS_SYNC for n in range(3)):
                packets = [head[at : at + 4] for at in range(start, len(head) - 4, stride)]
                return [
                    (int.from_bytes(packet[1:3], "big") & 0x1FFF, packet[3] & 0xC0)
                    for packet in packets
                    if packet[0] == TS_SYNC and packet[3] & 0x10
                ]
    return []
