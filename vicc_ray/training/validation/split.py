"""Training videos that are not trained on, to judge settings by: the test videos then judge what was chosen."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from vicc_ray.clip_store.catalog import Catalog

Row = tuple[str, str, str]
"""Split, label and source of a video."""


def training_videos(entries: Catalog, validation_share: float) -> Catalog:
    """Those of ``entries`` that are trained on: neither test nor validation videos."""
    trained = pc.not_equal(entries.table.column("split"), "test")
    return entries.where(pc.and_(trained, pc.invert(_held_out(entries, validation_share))))


def validation_videos(entries: Catalog, validation_share: float) -> Catalog:
    """The labelled training videos that are held out."""
    labelled = pc.not_equal(entries.table.column("label"), "")
    return entries.where(pc.and_(labelled, _held_out(entries, validation_share)))


def validation_sources(videos: Iterable[Row], share: float) -> set[str]:
    """Whole sources, so that nothing of what is held out is trained on: ``share`` of those of each class, rounded.

    They do not depend on the seed of a run, and hardly on which videos are there: the order of sources is that of their
    digests.
    """
    if not share:
        return set()
    of_class: dict[str, set[str]] = defaultdict(set)
    for split, label, source in videos:
        if split == "train" and label:
            of_class[label].add(source)
    chosen: set[str] = set()
    for sources in of_class.values():
        chosen.update(sorted(sources, key=_digest)[: round(share * len(sources))])
    return chosen


def _held_out(entries: Catalog, share: float) -> pa.Array:
    """Whether a video is for validation, bool [N]."""
    rows = zip(entries.column("split"), entries.column("label"), entries.column("source"), strict=True)
    sources = pa.array(sorted(validation_sources(rows, share)), pa.string())
    train = pc.equal(entries.table.column("split"), "train")
    return pc.and_(train, pc.is_in(entries.table.column("source"), value_set=sources))


def _digest(source: str) -> bytes:
    return hashlib.blake2b(source.encode("utf-8", "surrogateescape"), digest_size=8).digest()
