"""Videos of an index that are not where they were: it can be searched without them, but not played."""

from __future__ import annotations

from collections.abc import Sequence

from vicc_ray.search.opened import SearchIndex


def missing_files(index: SearchIndex, rows: Sequence[int]) -> str:
    """A line that says how many of the videos are missing, and what to do; "" where none is.

    Of an index whose videos are at an address nothing is said: to ask there for each would take longer than to search.
    """
    if index.videos is None:
        return ""
    missing = sum(index.file(row) is None for row in rows)
    if not missing:
        return ""
    return (
        f"{missing} of these {len(rows)} videos {'is' if missing == 1 else 'are'} not in {index.videos} any more; the "
        "results are right all the same. Say with --videos FOLDER where the videos are now"
    )
