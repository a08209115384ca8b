"""Videos without annotations: one folder per class, or no labels at all."""

from __future__ import annotations

from vicc_ray.datasets.base import VideoItem, top_folder
from vicc_ray.datasets.file_listing import FileListing
from vicc_ray.errors import UserError


def folder_items(listing: FileListing, classes: bool = True) -> list[VideoItem]:
    """All videos of the listing. With ``classes``, the top folder is the label. Each video is its own source.

    Raises:
        UserError: a folder could not be listed, or one folder has two class names because of links.
    """
    listing.check_complete(allow_broken_links=False)
    if classes:
        _check_classes(listing)
    return [VideoItem(listing.locate(id), id, top_folder(id) if classes else "", id, "") for id in listing.videos]


def _check_classes(listing: FileListing) -> None:
    for name, other in sorted(listing.aliases.items()):
        if other.linked and top_folder(f"{name}/") != top_folder(f"{other.name}/"):
            raise UserError(
                f"{other.name} and {name} in {listing.folder} are links to one folder, so its videos have two labels; "
                "remove one of the links, or give the label of each video with --labels"
            )
