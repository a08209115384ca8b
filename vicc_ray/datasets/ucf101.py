"""Lists of UCF101 (``ucfTrainTestlist``): classInd.txt, trainlist01.txt to 03, testlist01.txt to 03.

A line is ``ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi``; in training lists the number of the class follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from vicc_ray.datasets.annotations import AnnotationSource
from vicc_ray.datasets.base import AnnotationFormat, VideoItem, deduplicated
from vicc_ray.datasets.file_listing import FileListing, FileMatcher, nfc
from vicc_ray.errors import UserError

_LIST = re.compile(r"(train|test)list0?(\d)\.txt")
_LINE = re.compile(r"([^/]+)/([^/]+\.\w+)(?:\s+\d+)?")
_GROUP = re.compile(r"_(g\d+)_c\d+\.\w+$")


def ucf101_items(labels: AnnotationSource, listing: FileListing, fold: int) -> list[VideoItem]:
    """Videos of one fold; the source is the class with the group (``ApplyEyeMakeup_g08``), which is one recording.

    Raises:
        UserError: a list of the fold is missing or invalid.
    """
    lists = {name: match for name in labels.names or () if (match := _LIST.fullmatch(name))}
    names = {match[1]: name for name, match in lists.items() if int(match[2]) == fold}
    missing = [f"{split}list0{fold}.txt" for split in ("train", "test") if split not in names]
    if missing:
        raise UserError(f"{labels.location}: no {' and no '.join(missing)}; add it, or set another prepare.split_fold")
    labels.notes.append(f"{labels.location}: fold {fold}, {' and '.join(sorted(names.values()))}")
    rows = [(split, *row) for split, name in names.items() for row in _rows(labels, name)]
    # The lists have the class HandstandPushups with videos v_HandStandPushups_*; some copies have it the other way.
    matcher = FileMatcher(listing, labels.location, {label for _, label, _ in rows}, str.casefold)
    return deduplicated((_item(matcher, *row) for row in rows), labels)


def _rows(labels: AnnotationSource, name: str) -> Iterator[tuple[str, str]]:
    """Label and file name of every line."""
    for number, line in enumerate(labels.text(name).splitlines(), 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if not match:
            raise UserError(
                f"{labels.path(name)} line {number}: {line.strip()!r} given; expected Class/v_Class_g01_c01.avi"
            )
        yield match[1], match[2]


def _item(matcher: FileMatcher, split: str, label: str, name: str) -> VideoItem:
    id, group, label = f"{label}/{name}", _GROUP.search(name), nfc(label)
    return VideoItem(matcher.locate(id), id, label, f"{label}_{group[1]}" if group else id, split)


def _fits(labels: AnnotationSource) -> bool:
    return any(_LIST.fullmatch(name) or name == "classInd.txt" for name in labels.names or ())


UCF101 = AnnotationFormat(
    "the UCF101 lists folder (trainlist01.txt, testlist01.txt, ...)", _fits, ucf101_items, has_folds=True
)
