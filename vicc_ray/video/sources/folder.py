"""Videos of which nothing is told: one folder a class, or no labels at all."""

from __future__ import annotations

from vicc_ray.video.sources.item import VideoItem, first_folder
from vicc_ray.video.sources.listing import Listing


def folder_items(listing: Listing, classes: bool = True) -> list[VideoItem]:
    """Every video of the folder; the label is the first folder below it if these are ``classes``, the source itself."""
    return [VideoItem(listing.at(id), id, first_folder(id) if classes else "", id, "") for id in listing.videos]
