"""Videos of which nothing is told: one folder a class."""

from __future__ import annotations

from vicc_ray.video.sources.item import VideoItem, first_folder
from vicc_ray.video.sources.listing import Listing


def folder_items(listing: Listing) -> list[VideoItem]:
    """Every video of the folder; the label is the first folder below it, the source the video itself."""
    return [VideoItem(listing.at(id), id, first_folder(id), id, "") for id in listing.videos]
