"""What the features in a folder were made from, as ``settings.json`` beside them."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from vicc_ray.clip_store.fingerprint import videos_fingerprint
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.evaluation.feature_store import PREFIX, remove_features
from vicc_ray.evaluation.results_io import RESULT_FILE
from vicc_ray.utils.fs import atomic_write
from vicc_ray.utils.json_file import read_json

SETTINGS_FILE = "settings.json"
PLACE = "store"
"""Where the store was: it may have been moved or copied since."""


def remove_stale_features(out: Path, config: Config, store: ClipStore, names: Collection[str]) -> None:
    """Remove features, and their table, that were made with other settings or of other videos, or of networks that are
    not among ``names``; keep on what those that stay depend on.
    """
    settings: dict[str, Any] = {
        PLACE: str(store),
        "videos": videos_fingerprint(store.entries, store.settings),
        "clip": config.clip.model_dump(mode="json"),
        "evaluate": config.evaluate.model_dump(mode="json", exclude={"ignore_same_source", "batch"}),
    }
    before = _read(out)
    if before is None or _without_place(before) != _without_place(settings):
        names = ()
        (out / RESULT_FILE).unlink(missing_ok=True)
    for old in out.glob(f"{PREFIX}*"):
        if old.name[len(PREFIX) :] not in names:
            remove_features(old)
    if before != settings:
        atomic_write(out / SETTINGS_FILE, json.dumps(settings, indent=1))


def check_store_of_run(run: Path, store: ClipStore) -> None:
    """See that ``store`` has the videos that the run was evaluated on; nothing is known before that.

    Raises:
        UserError: it has others.
    """
    before = _read(run / "evaluation")
    if before is not None and before["videos"] != videos_fingerprint(store.entries, store.settings):
        raise UserError(
            f"--store {store}: its {len(store.entries)} videos are not those that {run} was evaluated on "
            f"(those of {before[PLACE]}), so the page would show others than were found. Give that store, or evaluate "
            f"on this one first: `vicc-ray evaluate --run {run} --store {store}`"
        )


def have_same_videos(one: Path, other: Path) -> bool:
    """Whether the features of two folders are of the same videos, as far as is known."""
    known = [found["videos"] for folder in (one, other) if (found := _read(folder)) is not None]
    return len(set(known)) < 2


def _read(out: Path) -> dict[str, Any] | None:
    file = out / SETTINGS_FILE
    remedy = "delete it and run `vicc-ray evaluate` again"
    try:
        content = read_json(file, "what features were made from", remedy)
    except FileNotFoundError:
        return None
    if not all(isinstance(content.get(name), str) for name in (PLACE, "videos")):
        raise UserError(f"{file} does not say of which videos the features are; {remedy}")
    return content


def _without_place(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != PLACE}
