"""Provenance of the features in a folder, ``settings.json``: the videos and settings that they were computed from."""

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
STORE_KEY = "store"
"""Path of the store. It is not compared: the store may have been moved or copied since."""


def remove_stale_features(out: Path, config: Config, store: ClipStore, names: Collection[str]) -> None:
    """Remove features that are out of date, and record what the others were computed from.

    All features and their table are removed if settings or videos differ from the recorded ones; otherwise only those
    of networks that are not among ``names``.
    """
    settings: dict[str, Any] = {
        STORE_KEY: str(store),
        "videos": videos_fingerprint(store.entries, store.settings),
        "clip": config.clip.model_dump(mode="json"),
        "flow_input": config.model.flow_input,
        "evaluate": config.evaluate.model_dump(mode="json", exclude={"exclude_same_source", "batch_size"}),
    }
    recorded = _read(out)
    if recorded is None or _without_store(recorded) != _without_store(settings):
        names = ()
        (out / RESULT_FILE).unlink(missing_ok=True)
    for path in out.glob(f"{PREFIX}*"):
        if path.name[len(PREFIX) :] not in names:
            remove_features(path)
    if recorded != settings:
        atomic_write(out / SETTINGS_FILE, json.dumps(settings, indent=1))


def check_store_of_run(run: Path, store: ClipStore) -> None:
    """Check that ``store`` has the videos that the run was evaluated on; a run without evaluation takes any store.

    Raises:
        UserError: it has other videos.
    """
    recorded = _read(run / "evaluation")
    if recorded is not None and recorded["videos"] != videos_fingerprint(store.entries, store.settings):
        raise UserError(
            f"--store {store}: its {len(store.entries)} videos are not those that {run} was evaluated on (those of "
            f"{recorded[STORE_KEY]}), so the page would show other videos. Give that store, or evaluate on this one "
            f"first: `vicc-ray evaluate --run {run} --store {store}`"
        )


def have_same_videos(one: Path, other: Path) -> bool:
    """Whether the features of two folders are of the same videos; true where one of them has no record."""
    recorded = [settings["videos"] for folder in (one, other) if (settings := _read(folder)) is not None]
    return len(set(recorded)) < 2


def _read(out: Path) -> dict[str, Any] | None:
    file = out / SETTINGS_FILE
    remedy = "delete it and run `vicc-ray evaluate` again"
    try:
        content = read_json(file, "the provenance of features", remedy)
    except FileNotFoundError:
        return None
    if not all(isinstance(content.get(name), str) for name in (STORE_KEY, "videos")):
        raise UserError(f"{file} does not record the videos of the features; {remedy}")
    return content


def _without_store(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != STORE_KEY}
