"""Files that are stored more than once: the same content under several names."""

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
    """Groups of stored videos that are the same file, each group sorted by id."""

    groups: tuple[tuple[VideoRecord, ...], ...]

    @property
    def repeats(self) -> int:
        """Videos whose content another one, earlier in the order of ids, has already."""
        return sum(len(group) - 1 for group in self.groups)

    @property
    def leaks(self) -> int:
        """Groups with a video for training and one for testing: the score is then partly of what was trained on."""
        return sum(_leaks(group) for group in self.groups)

    def write(self, store: Path) -> None:
        """Write ``duplicates.jsonl``: a line a group, with its content's digest, whether it leaks, and its videos."""
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
    """The groups among ``entries``, which are sorted by id, by the id of their first video."""
    times = Counter(entries.column("content"))
    groups: defaultdict[str, list[VideoRecord]] = defaultdict(list)
    for entry in entries.where([times[content] > 1 for content in entries.column("content")]):
        groups[entry.content].append(entry)
    return Duplicates(tuple(tuple(group) for group in groups.values()))


def _leaks(group: Iterable[VideoRecord]) -> bool:
    return {entry.split for entry in group} >= SIDES
