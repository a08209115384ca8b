"""Splits of HMDB51 (``testTrainMulti_7030_splits``): ``<class>_test_split1.txt`` to 3 for every class.

A line is the name of a video and 1 (training), 2 (test) or 0 (neither).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from vicc_ray.datasets.annotations import AnnotationSource
from vicc_ray.datasets.base import AnnotationFormat, VideoItem, deduplicated
from vicc_ray.datasets.file_listing import FileListing, FileMatcher, nfc
from vicc_ray.errors import UserError

SPLIT_OF = {"0": "", "1": "train", "2": "test"}
_LIST = re.compile(r"(.+)_test_split(\d)\.txt")
_LINE = re.compile(r"(.+\.\w+)\s+([012])")
_TAIL = re.compile(r"_[fhlu]_(cm|nm)_np\d+_(ba|fr|le|ri)_(bad|med|goo)_\d+$")
"""End of every name: visible body part, camera motion, number of people, viewpoint, quality, number."""


def hmdb51_items(labels: AnnotationSource, listing: FileListing, fold: int) -> list[VideoItem]:
    """Videos of one fold; the source is the film that a video was cut from (:func:`film`).

    Raises:
        UserError: a list of the fold is missing or invalid.
    """
    lists = [(match[1], int(match[2]), name) for name in labels.names or () if (match := _LIST.fullmatch(name))]
    chosen = {label: name for label, number, name in lists if number == fold}
    missing = sorted({label for label, _, _ in lists} - set(chosen))
    if missing:
        raise UserError(
            f"{labels.location}: no {missing[0]}_test_split{fold}.txt; add it, or set another prepare.split_fold"
        )
    labels.notes.append(f"{labels.location}: fold {fold}, the lists of {len(chosen)} classes")
    matcher = FileMatcher(listing, labels.location, chosen, str.casefold)
    return deduplicated(
        (item for label, name in chosen.items() for item in _items(labels, matcher, label, name)), labels
    )


def film(name: str, label: str) -> str:
    """Film of a video: the part of its name before the class, ``April_09`` of ``April_09_brush_hair_u_nm_..._0.avi``.

    Without the class in the name, the part before the description of the shot; "" if there is no description.
    """
    stem = name.rpartition(".")[0]
    film_name, separator, _ = stem.rpartition(f"_{label}_")
    if separator:
        return film_name
    return _TAIL.sub("", stem) if _TAIL.search(stem) else ""


def _items(labels: AnnotationSource, matcher: FileMatcher, label: str, list_name: str) -> Iterator[VideoItem]:
    for number, line in enumerate(labels.text(list_name).splitlines(), 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if not match:
            where = f"{labels.path(list_name)} line {number}"
            raise UserError(f"{where}: {line.strip()!r}; expected the name of a video and 0, 1 or 2")
        id = f"{label}/{match[1]}"
        source = film(nfc(match[1]), nfc(label)) or id
        yield VideoItem(matcher.locate(id), id, nfc(label), source, SPLIT_OF[match[2]])


def _fits(labels: AnnotationSource) -> bool:
    return any(_LIST.fullmatch(name) for name in labels.names or ())


HMDB51 = AnnotationFormat(
    "the HMDB51 splits folder (brush_hair_test_split1.txt, ...)", _fits, hmdb51_items, has_folds=True
)
