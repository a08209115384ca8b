"""Reads TensorBoard's event files back: records of a length, its checksum, the event, its checksum."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog


def shown(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The curves as TensorBoard shows them, (step, value) by name: a session that starts at a step takes back what
    others have written from that step on.
    """
    curves: dict[str, list[tuple[int, float]]] = {}
    for file in sorted(folder.glob("events.*")):
        for event in _events(file):
            if event.session_log.status == SessionLog.START:
                curves = {name: [p for p in points if p[0] < event.step] for name, points in curves.items()}
            for value in event.summary.value:
                curves.setdefault(value.tag, []).append((event.step, value.simple_value))
    return curves


def _events(file: Path) -> Iterator[Event]:
    content = file.read_bytes()
    while content:
        (size,) = struct.unpack("<Q", content[:8])
        yield Event.FromString(content[12 : 12 + size])
        content = content[16 + size :]
