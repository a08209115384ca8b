"""Videos of which nothing is told: one folder a class, or no labels at all."""

from __future__ import annotations

from vicc_ray.datasets.base import VideoItem, top_folder
from vicc_ray.datasets.file_listing import FileListing
from vicc_ray.errors import UserError


def folder_items(listing: FileListing, classes: bool = True) -> list[VideoItem]:
    """Every video of the folder; the label is the first folder below it if these are ``classes``, the source itself.

    Raises:
        UserError: a folder could not be listed, or two links make one folder two classes.
    """
    listing.check_complete(dead_links=False)
    if classes:
        _check_classes(listing)
    return [VideoItem(listing.at(id), id, top_folder(id) if classes else "", id, "") for id in listing.videos]


def _check_classes(listing: FileListing) -> None:
    for name, other in sorted(listing.aliases.items()):
        if other.linked and top_folder(f"{name}/") != top_folder(f"{other.name}/"):
            raise UserError(
                f"{other.name} and {name} in {listing.folder} are links to one folder, so that its videos have two "
                "labels; remove one of the links, or say with --labels which label each video has"
            )
