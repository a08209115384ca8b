"""The folder of a sweep: its settings, the study, a folder for each trial, and what is told of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from vicc_ray.clip_store.fingerprint import videos_fingerprint
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config
from vicc_ray.config.base import resumable
from vicc_ray.errors import UserError
from vicc_ray.runs import run_dir
from vicc_ray.runs.run_dir import RunDir, changed_settings
from vicc_ray.sweep.config import SweepConfig
from vicc_ray.sweep.trial import Trial, TrialDir, training_seconds
from vicc_ray.utils.fs import atomic_write, folder_lock
from vicc_ray.utils.json_file import read_json, read_typed, validate_as
from vicc_ray.utils.local_paths import WRITTEN_HERE, local_path

SCORING = {"validate_every_epochs", "max_validation_videos"}
FREE_IN_RECIPE = {
    **{name: run_dir.FREE_TO_CHANGE[name] for name in ("name", "ray", "classify")},
    "train": set(run_dir.FREE_TO_CHANGE["train"]) - SCORING,
}
"""What a run may go on with, but for what its scores depend on."""
LOCK_WAIT_S = 20.0


@dataclass(frozen=True)
class _Videos:
    count: int
    fingerprint: str


@dataclass(frozen=True)
class _Begun:
    settings: dict[str, Any]
    recipe: dict[str, Any]
    epochs: int
    videos: _Videos
    store: str


@dataclass(frozen=True)
class _Spent:
    search: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class SweepDir:
    """Reads and writes one sweep's files. Making the object touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path = local_path(path, WRITTEN_HERE)
        self.settings_file = path / "sweep.json"
        self.study_file = path / "study.journal"
        self.stage1 = path / "stage1"
        self.table_file = path / "trials.parquet"
        self.best_file = path / "best.yaml"
        self.summary_file = path / "sweep-summary.json"
        self.page_file = path / "sweep.html"
        self.spent_file = path / "seconds.json"

    def open(self, settings: SweepConfig, recipe: Config, store: ClipStore) -> None:
        """Create the folder, or check that it is of the same sweep.

        Args:
            recipe: the trials' common settings in full: a recipe may have changed under the same name.
            store: whose videos trials are trained, scored and judged on.

        Raises:
            UserError: it cannot be written, or what the trials compute has changed.
        """
        videos = {"count": len(store.entries), "fingerprint": videos_fingerprint(store.entries, store.settings)}
        found = {
            **{"settings": settings.model_dump(mode="json"), "recipe": recipe.model_dump(mode="json")},
            **{"epochs": settings.budget.epochs, "videos": videos, "store": str(store)},
        }
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if self.settings_file.exists():
                self._check_same(found)
            atomic_write(self.settings_file, json.dumps(found, indent=1))
            self.stage1.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror}); choose another folder") from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the only process that searches here.

        Raises:
            UserError: another one does.
        """
        try:
            with folder_lock(self.path, LOCK_WAIT_S):
                yield
        except BlockingIOError:
            raise UserError(f"{self.path}: another process runs this sweep; wait for it or end it") from None

    def trial(self, number: int) -> TrialDir:
        """The folder of a trial.

        Raises:
            UserError: it, or the run in it, is a link: what is removed of a trial would be removed elsewhere.
        """
        path = self.path / "trials" / f"{number:04d}"
        for part in (path.parent, path, path / "run"):
            if part.is_symlink():
                raise UserError(f"{part} is a link, which may lead to any folder; remove it")
        return TrialDir(path)

    def last_run(self, setting: str, seed: int) -> TrialDir:
        """The folder of one of the runs that judge what was found; ``setting`` names the trial or the default."""
        return TrialDir(self.path / "final" / f"{setting}-{seed}")

    def runs(self) -> list[RunDir]:
        """Of all trials, of the stage 1 that they share, and of what judges them."""
        configs = [*self.stage1.glob("*/config.yaml"), *self.path.glob("trials/*/run/config.yaml")]
        return [RunDir(config.parent) for config in (*configs, *self.path.glob("final/*/run/config.yaml"))]

    def trials(self) -> list[Trial]:
        """What is known of all trials, in their order."""
        records = sorted((self.path / "trials").glob("*/trial.json"))
        return [TrialDir(record.parent).read() for record in records]

    def seconds_spent(self) -> float:
        """On the search, in all calls before."""
        try:
            return read_typed(self.spent_file, _Spent, "the seconds of a sweep", "remove it").search
        except FileNotFoundError:
            return 0.0

    def note_seconds_spent(self, seconds: float) -> None:
        """For the next call."""
        atomic_write(self.spent_file, json.dumps({"search": round(seconds, 1)}))

    def stage1_seconds(self) -> float:
        """Of training, spent on all stages 1 that trials and last runs share."""
        return sum(training_seconds(RunDir(path)) for path in self.stage1.iterdir() if path.is_dir())

    def _check_same(self, now: Mapping[str, Any]) -> None:
        anew = "another folder (--out) to start anew"
        before = read_json(self.settings_file, "the settings of a sweep", f"give {anew}")
        if "videos" not in before:
            raise UserError(
                f"{self.path}: on which videos this sweep is made is not recorded in {self.settings_file.name}, so it "
                f"cannot go on; give {anew}"
            )
        try:
            validate_as(before, _Begun)
        except ValueError as error:
            raise UserError(
                f"{self.settings_file} cannot be read as the settings of a sweep ({error}); give {anew}"
            ) from None
        if changed := _changed(before, now):
            raise UserError(
                f"{self.path} is the folder of a sweep with other settings ({'; '.join(changed)}). Give the old ones "
                f"to go on with it, or {anew}"
            )
        old, new = before["videos"], now["videos"]
        if old != new:  # scores on other videos cannot be compared
            raise UserError(
                f"{self.path} is the folder of a sweep on other videos ({old['count']} of fingerprint "
                f"{old['fingerprint']} in {before['store']} -> {new['count']} of {new['fingerprint']} in "
                f"{now['store']}). Give that clip store to go on with it, or {anew}"
            )


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Settings that must not change and have, each as "key: old -> new"; those of the recipe where no other has."""
    old, new = (
        {k: v for k, v in found["settings"].items() if k not in resumable(SweepConfig)} for found in (before, now)
    )
    changed = [f"{key}: {old.get(key)} -> {value}" for key, value in new.items() if old.get(key) != value]
    if before["epochs"] != now["epochs"]:
        changed.append(f"budget.epochs: {before['epochs']} -> {now['epochs']}")
    return changed or changed_settings(before["recipe"], now["recipe"], FREE_IN_RECIPE)
