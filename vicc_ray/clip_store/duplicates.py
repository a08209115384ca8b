"""Duplicate videos in a clip store: files of equal content under several names."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vicc_ray.clip_store.catalog import Catalog, VideoRecord
from vicc_ray.utils.fs import atomic_write

DUPLICATES_FILE = "duplicates.jsonl"
SIDES = {"train", "test"}


@dataclass(frozen=True)
class Duplicates:
    """Groups of stored videos with equal content, each sorted by id."""

    groups: tuple[tuple[VideoRecord, ...], ...]

    @property
    def repeats(self) -> int:
        """Number of videos that repeat the content of one with a smaller id."""
        return sum(len(group) - 1 for group in self.groups)

    @property
    def leaks(self) -> int:
        """Number of groups with both a training and a test video; they make test scores too high."""
        return sum(_leaks(group) for group in self.groups)

    def write(self, store: Path) -> None:
        """Write ``duplicates.jsonl``: for each group the digest of the content, whether it leaks, and the videos."""
        lines = [
            json.dumps(
                {
                    "content": group[0].content,
                    "both_sides": _leaks(group),
                    "videos": [{"path": entry.id, "split": entry.split} for entry in group],
                }
            )
            for group in self.groups
        ]
        atomic_write(store / DUPLICATES_FILE, "".join(line + "\n" for line in lines))


def find_duplicates(entries: Catalog) -> Duplicates:
    """Duplicates among ``entries``, a catalog sorted by id; groups are in the order of their first video."""
    counts = Counter(entries.column("content"))
    groups: defaultdict[str, list[VideoRecord]] = defaultdict(list)
    for entry in entries.where([counts[content] > 1 for content in entries.column("content")]):
        groups[entry.content].append(entry)
    return Duplicates(tuple(tuple(group) for group in groups.values()))


def _leaks(group: Iterable[VideoRecord]) -> bool:
    return {entry.split for entry in group} >= SIDES
