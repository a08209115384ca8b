"""Static search page in one file: a query, its neighbors, their neighbors, and so on, all clickable."""

from __future__ import annotations

import base64
import shlex
from pathlib import Path
from typing import Any

from vicc_ray.search.html.render import static_page
from vicc_ray.search.query import NamedQuery
from vicc_ray.search.ranking import Hit, Query, search_all
from vicc_ray.search.reader import SearchIndex, missing_files
from vicc_ray.search.thumbnail import MEDIA_TYPE
from vicc_ray.utils.fs import atomic_write

LARGEST = 6 * 2**20
"""Approximate size limit of a page in bytes; the first two levels of neighbors are always included."""
MOST = 250
"""Most videos whose neighbors a page contains; each costs one search."""
QUERY_KEY = "query"
"""Key of a query that is not an indexed video; indexed videos are keyed by row."""


def write_page(index: SearchIndex, named: NamedQuery, hits: list[Hit], k: int, path: Path) -> None:
    """Write the page of a query and its results.

    It contains the ``k`` neighbors of the query, of its results, and of further results up to :data:`LARGEST` bytes.
    Beyond that, it shows the command that continues the search.

    Raises:
        OSError: the file cannot be written.
    """
    atomic_write(path, static_page(index, static_content(index, named, hits, k, path)))


def static_content(index: SearchIndex, named: NamedQuery, hits: list[Hit], k: int, path: Path) -> dict[str, Any]:
    """Page data: ``videos`` by key, ``near``: neighbors by key as (key, score, start, end), and ``query``: its key."""
    root = QUERY_KEY if named.query.row is None else str(named.query.row)
    videos = {root: _shown(named.query.row, named.name, named.label, named.seconds, named.thumbnail)}
    near = {root: _near(hits)}
    size = _add(index, videos, hits)
    level = [hit.row for hit in hits if str(hit.row) not in near]
    depth = 1
    while level and (depth == 1 or size < LARGEST) and len(near) < MOST:
        level = level[: MOST - len(near)]
        queries = [Query(windows.features, row) for row, windows in zip(level, index.windows(level), strict=True)]
        results = search_all(index, queries, k)
        for row, more in zip(level, results, strict=True):
            if depth > 1 and size >= LARGEST:
                break
            near[str(row)] = _near(more)
            size += _add(index, videos, more)
        rows = dict.fromkeys(hit.row for more in results for hit in more)
        level = [row for row in rows if str(row) not in near and str(row) in videos]
        depth += 1
    command = f"vicc-ray search {shlex.quote(str(index.folder))} QUERY --top-k {k} --html {shlex.quote(path.name)}"
    note = missing_files(index, [hit.row for hit in hits])
    return {"query": root, "videos": videos, "near": near, "command": command, "note": note}


def _add(index: SearchIndex, videos: dict[str, Any], hits: list[Hit]) -> int:
    """Add the videos that are not in ``videos`` yet; returns the number of bytes added."""
    size = 0
    for hit in hits:
        if str(hit.row) not in videos:
            video = index.video(hit.row)
            shown = _shown(video.row, video.id, video.label, video.seconds, index.thumbnail(video.row))
            videos[str(hit.row)] = shown
            size += len(shown["thumbnail"]) + len(video.id) + 200
    return size


def _shown(row: int | None, id: str, label: str, seconds: float, thumbnail: bytes) -> dict[str, Any]:
    uri = f"data:{MEDIA_TYPE};base64,{base64.b64encode(thumbnail).decode()}"
    return {"row": row, "id": id, "label": label, "seconds": round(seconds, 2), "thumbnail": uri}


def _near(hits: list[Hit]) -> list[tuple[str, float, float, float]]:
    return [(str(hit.row), round(hit.score, 4), round(hit.start, 2), round(hit.end, 2)) for hit in hits]
