"""A few videos next to their optical flow, the input of the flow network."""

from __future__ import annotations

from typing import Any

from vicc_ray.reports.run.data import RunData
from vicc_ray.reports.run.figure import Figure
from vicc_ray.reports.run.thumbnails import Thumbnails, color_wheel_uri

VIDEOS = 4


def read_flow_videos(data: RunData) -> list[dict[str, Any]] | None:
    """``id``, ``label``, ``speed`` (pixels per frame) and ``static`` of a few queries of the gallery.

    Moving videos and different classes come first. None without a store.
    """
    if data.store is None or data.thumbnails is None:
        return None
    entries, thumbnails = data.store.entries, data.thumbnails
    if data.figures["gallery"]:
        candidates = [(query["id"], query["label"]) for query in data.figures["gallery"]["queries"]]
    else:
        candidates = [(entry.id, entry.label) for entry in entries[:: max(1, len(entries) // VIDEOS)]]
    known = {entry.id for entry in entries}
    videos = [
        {"id": id_, "label": label, "speed": thumbnails.speed(id_), "static": thumbnails.is_static(id_)}
        for id_, label in candidates
        if id_ in known
    ]
    return choose(videos)


def choose(videos: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most :data:`VIDEOS` of these: moving ones first, and of those the first of each class."""
    videos = sorted(videos, key=lambda video: video["static"])
    first_of_class: dict[str, dict[str, Any]] = {}
    for video in videos:
        first_of_class.setdefault(video["label"], video)
    videos.sort(key=lambda video: (video["static"], first_of_class[video["label"]] is not video))
    return videos[:VIDEOS]


def _view(figures: dict[str, Any], thumbnails: Thumbnails | None) -> dict[str, Any]:
    return {"color_wheel": color_wheel_uri()}


FIGURE = Figure(70, read_flow_videos, _view)
