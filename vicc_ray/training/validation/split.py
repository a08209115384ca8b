"""Validation split: training videos held out to compare settings, so that test videos judge only the final choice."""

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
    """Videos of ``entries`` to train on: neither test nor validation videos."""
    trained = pc.not_equal(entries.table.column("split"), "test")
    return entries.where(pc.and_(trained, pc.invert(_held_out(entries, validation_share))))


def validation_videos(entries: Catalog, validation_share: float) -> Catalog:
    """Labeled training videos that are held out."""
    labeled = pc.not_equal(entries.table.column("label"), "")
    return entries.where(pc.and_(labeled, _held_out(entries, validation_share)))


def validation_sources(videos: Iterable[Row], share: float) -> set[str]:
    """Sources held out for validation: the fraction ``share`` of each class's sources, rounded.

    Whole sources, so that no video of a held-out source is trained on. The order of sources is that of their digests:
    the choice does not depend on the run's seed, and hardly on the other videos.
    """
    if not share:
        return set()
    by_class: dict[str, set[str]] = defaultdict(set)
    for split, label, source in videos:
        if split == "train" and label:
            by_class[label].add(source)
    chosen: set[str] = set()
    for sources in by_class.values():
        chosen.update(sorted(sources, key=_digest)[: round(share * len(sources))])
    return chosen


def _held_out(entries: Catalog, share: float) -> pa.Array:
    """Mask of validation videos, bool [N]."""
    rows = zip(entries.column("split"), entries.column("label"), entries.column("source"), strict=True)
    sources = pa.array(sorted(validation_sources(rows, share)), pa.string())
    train = pc.equal(entries.table.column("split"), "train")
    return pc.and_(train, pc.is_in(entries.table.column("source"), value_set=sources))


def _digest(source: str) -> bytes:
    return hashlib.blake2b(source.encode("utf-8", "surrogateescape"), digest_size=8).digest()
