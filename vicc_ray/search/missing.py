"""Videos of an index that are not where they were: it can be searched without them, but not played."""

from __future__ import annotations

from collections.abc import Sequence

from vicc_ray.search.reader import SearchIndex


def missing_files(index: SearchIndex, rows: Sequence[int]) -> str:
    """A line that says how many of the videos are missing, and what to do; "" where none is.

    Of an index whose videos are at an address nothing is said: to ask there for each would take longer than to search;
    nor of one that somebody else made, as long as nobody says where its videos are.
    """
    if not index.videos.folders:
        return ""
    missing = sum(not index.has_video(row) for row in rows)
    if not missing:
        return ""
    folders = " and ".join(map(str, index.videos.folders))
    return (
        f"{missing} of these {len(rows)} videos {'is' if missing == 1 else 'are'} not in {folders} as they were "
        "indexed; the results are right all the same. Say with --videos FOLDER where the videos are now"
    )
