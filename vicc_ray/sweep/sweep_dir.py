"""The folder of a sweep: its settings, the study, a folder for each trial, and the results."""

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
"""Settings of the recipe that may change on resume: those of a run, except the ones that scores depend on."""
LOCK_WAIT_S = 20.0


@dataclass(frozen=True)
class _Videos:
    count: int
    fingerprint: str


@dataclass(frozen=True)
class _SweepRecord:
    settings: dict[str, Any]
    recipe: dict[str, Any]
    epochs: int
    videos: _Videos
    store: str


@dataclass(frozen=True)
class _Spent:
    search: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class SweepDir:
    """Reads and writes the files of a sweep. The constructor does not touch the disk."""

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
        """Create the folder, or check that it belongs to the same sweep.

        Args:
            recipe: the trials' common settings in full: a recipe may have changed under the same name.
            store: whose videos trials are trained, scored and judged on.

        Raises:
            UserError: it cannot be written, or what the trials compute has changed.
        """
        videos = {"count": len(store.entries), "fingerprint": videos_fingerprint(store.entries, store.settings)}
        record = {
            **{"settings": settings.model_dump(mode="json"), "recipe": recipe.model_dump(mode="json")},
            **{"epochs": settings.budget.epochs, "videos": videos, "store": str(store)},
        }
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if self.settings_file.exists():
                self._check_same(record)
            atomic_write(self.settings_file, json.dumps(record, indent=1))
            self.stage1.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror}); choose another folder") from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock that allows only one process to run this sweep.

        Raises:
            UserError: another process holds it.
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

    def final_run(self, setting: str, seed: int) -> TrialDir:
        """The folder of a run of the final evaluation; ``setting`` names the best trial or the default."""
        return TrialDir(self.path / "final" / f"{setting}-{seed}")

    def runs(self) -> list[RunDir]:
        """Run folders of all trials, of the shared stage 1, and of the final evaluation."""
        configs = [*self.stage1.glob("*/config.yaml"), *self.path.glob("trials/*/run/config.yaml")]
        return [RunDir(config.parent) for config in (*configs, *self.path.glob("final/*/run/config.yaml"))]

    def trials(self) -> list[Trial]:
        """All trials in order, as recorded."""
        records = sorted((self.path / "trials").glob("*/trial.json"))
        return [TrialDir(record.parent).read() for record in records]

    def seconds_spent(self) -> float:
        """Seconds spent on the search in all earlier calls."""
        try:
            return read_typed(self.spent_file, _Spent, "the seconds of a sweep", "remove it").search
        except FileNotFoundError:
            return 0.0

    def note_seconds_spent(self, seconds: float) -> None:
        """Record the seconds spent, for the next call."""
        atomic_write(self.spent_file, json.dumps({"search": round(seconds, 1)}))

    def stage1_seconds(self) -> float:
        """Training time of all stage 1 runs that trials and final runs share."""
        return sum(training_seconds(RunDir(path)) for path in self.stage1.iterdir() if path.is_dir())

    def _check_same(self, now: Mapping[str, Any]) -> None:
        elsewhere = "another folder (--out) for a new sweep"
        before = read_json(self.settings_file, "the settings of a sweep", f"give {elsewhere}")
        if "videos" not in before:
            raise UserError(
                f"{self.path}: {self.settings_file.name} does not record the videos of this sweep, so it cannot be "
                f"resumed; give {elsewhere}"
            )
        try:
            validate_as(before, _SweepRecord)
        except ValueError as error:
            raise UserError(
                f"{self.settings_file} cannot be read as the settings of a sweep ({error}); give {elsewhere}"
            ) from None
        if changed := _changed(before, now):
            raise UserError(
                f"{self.path} is the folder of a sweep with other settings ({'; '.join(changed)}). Give the old ones "
                f"to go on with it, or {elsewhere}"
            )
        old, new = before["videos"], now["videos"]
        if old != new:  # scores on other videos cannot be compared
            raise UserError(
                f"{self.path} is the folder of a sweep on other videos ({old['count']} of fingerprint "
                f"{old['fingerprint']} in {before['store']} -> {new['count']} of {new['fingerprint']} in "
                f"{now['store']}). Give that clip store to go on with it, or {elsewhere}"
            )


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Changed settings that must not change, as "key: old -> new"; those of the recipe if no other changed."""
    old, new = (
        {k: v for k, v in record["settings"].items() if k not in resumable(SweepConfig)} for record in (before, now)
    )
    changed = [f"{key}: {old.get(key)} -> {value}" for key, value in new.items() if old.get(key) != value]
    if before["epochs"] != now["epochs"]:
        changed.append(f"budget.epochs: {before['epochs']} -> {now['epochs']}")
    return changed or changed_settings(before["recipe"], now["recipe"], FREE_IN_RECIPE)
