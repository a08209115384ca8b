"""A page in one file: a query, its neighbours, theirs, and so on as far as it goes, so that results can be clicked."""

from __future__ import annotations

import base64
import shlex
from pathlib import Path
from typing import Any

from vicc_ray.search.html.render import static_page
from vicc_ray.search.missing import missing_files
from vicc_ray.search.query import NamedQuery
from vicc_ray.search.ranking import Hit, Query, search_all
from vicc_ray.search.reader import SearchIndex
from vicc_ray.search.thumbnail import MEDIA_TYPE
from vicc_ray.utils.fs import atomic_write

LARGEST = 6 * 2**20
"""Bytes of a page, about; beyond the neighbours of the query's neighbours."""
MOST = 250
"""Videos whose neighbours a page carries: to find them takes about as long as so many searches."""
ASKED = "query"
"""What a query is called that is no video of the index; videos of it are called by their row."""


def write_page(index: SearchIndex, asked: NamedQuery, hits: list[Hit], k: int, path: Path) -> None:
    """Write the page of a query and what was found.

    It carries the ``k`` neighbours of the query, of its results, and of theirs as long as it stays below
    :data:`LARGEST`; where it ends, it says which command goes on.

    Raises:
        OSError: the file cannot be written.
    """
    atomic_write(path, static_page(index, static_content(index, asked, hits, k, path)))


def static_content(index: SearchIndex, asked: NamedQuery, hits: list[Hit], k: int, path: Path) -> dict[str, Any]:
    """``videos`` by key, ``near``: of a key the neighbours as (key, score, start, end), and the ``query``'s key."""
    own = ASKED if asked.query.row is None else str(asked.query.row)
    videos = {own: _shown(asked.query.row, asked.name, asked.label, asked.seconds, asked.thumbnail)}
    near = {own: _near(hits)}
    size = _add(index, videos, hits)
    level = [hit.row for hit in hits if str(hit.row) not in near]
    depth = 1
    while level and (depth == 1 or size < LARGEST) and len(near) < MOST:
        level = level[: MOST - len(near)]
        queries = [Query(windows.features, row) for row, windows in zip(level, index.windows(level), strict=True)]
        found = search_all(index, queries, k)
        for row, more in zip(level, found, strict=True):
            if depth > 1 and size >= LARGEST:
                break
            near[str(row)] = _near(more)
            size += _add(index, videos, more)
        rows = dict.fromkeys(hit.row for more in found for hit in more)
        level = [row for row in rows if str(row) not in near and str(row) in videos]
        depth += 1
    command = f"vicc-ray search {shlex.quote(str(index.folder))} QUERY --top-k {k} --html {shlex.quote(path.name)}"
    note = missing_files(index, [hit.row for hit in hits])
    return {"query": own, "videos": videos, "near": near, "command": command, "note": note}


def _add(index: SearchIndex, videos: dict[str, Any], hits: list[Hit]) -> int:
    """Take the videos that are found for the first time; the bytes that they take."""
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
