"""Run directory: settings, versions, metrics as JSON lines, checkpoints."""

from __future__ import annotations

import json
import platform
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from vicc_ray.config import Config
from vicc_ray.config.base import resumable
from vicc_ray.config.loader import dump_config, load_config
from vicc_ray.config.messages import sections
from vicc_ray.errors import UserError
from vicc_ray.runs.checkpoint_manager import CheckpointManager
from vicc_ray.runs.checkpoint_state import read_inputs, read_state
from vicc_ray.runs.restart_log import RestartLog
from vicc_ray.runs.run_inputs import RunInputs
from vicc_ray.utils.fs import atomic_write, folder_lock
from vicc_ray.utils.json_file import read_bounded, read_typed
from vicc_ray.utils.jsonl import read_lines
from vicc_ray.utils.local_paths import WRITTEN_HERE, local_path

FreeSettings = Mapping[str, str | Collection[str]]
"""Names of settings by section, or "all"."""
FREE_TO_CHANGE: FreeSettings = {
    **{section: names for section, model in sections().items() if (names := resumable(model))},
    **dict.fromkeys(resumable(Config), "all"),
}
"""Settings that do not affect what pretraining computes: a run may resume with other values."""
LOCK_WAIT_S = 20.0
"""Workers of a killed driver end within seconds."""
PACKAGES = ("vicc-ray", "torch", "torchvision", "ray", "av", "numpy", "opencv-contrib-python-headless")


class RunDir:
    """Files of one run. Creating the object touches nothing on disk."""

    def __init__(self, path: Path | str) -> None:
        self.path = local_path(path, WRITTEN_HERE)
        self.config_file = self.path / "config.yaml"
        self.inputs_file = self.path / "inputs.json"
        self.metrics_file = self.path / "metrics.jsonl"
        self.epochs_file = self.path / "epochs.jsonl"
        self.warnings_file = self.path / "warnings.jsonl"
        self.validation_file = self.path / "validation.jsonl"
        self.samples_file = self.path / "samples.jsonl"
        self.checkpoints_file = self.path / "checkpoints.jsonl"
        self.classes_file = self.path / "classes.json"
        """Classes of a classification; pretraining has no such file."""
        self.fatal_error_file = self.path / "fatal_error.txt"
        self.restarts = RestartLog(self.path / "restarts.jsonl")
        self.request_file = self.path / "checkpoint.request"
        self.pause_file = self.path / "pause"
        """Holds the name of a checkpoint: the run pauses until a scheduler, having seen its score, removes the file."""
        self.checkpoints = CheckpointManager(self.path / "checkpoints")

    def open(self, config: Config, free: FreeSettings = FREE_TO_CHANGE, inputs: RunInputs | None = None) -> None:
        """Create the folder for ``config``, or :meth:`check` that its run can resume with it.

        Raises:
            UserError: the folder cannot be written, or :meth:`check` fails.
        """
        self.check(config, free, inputs)
        try:
            if inputs is not None:
                atomic_write(self.inputs_file, json.dumps(inputs.as_json(), indent=1))
            atomic_write(self.config_file, dump_config(config))
            atomic_write(self.path / "versions.json", json.dumps(versions(), indent=1))
            self.checkpoints.path.mkdir(exist_ok=True)
            for old in (self.fatal_error_file, self.request_file):
                old.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be written ({error.strerror}); choose another output folder"
            ) from error

    def check(self, config: Config, free: FreeSettings = FREE_TO_CHANGE, inputs: RunInputs | None = None) -> None:
        """Check that the folder is new or has the same settings and inputs; nothing is written.

        Args:
            free: settings that may differ.
            inputs: training inputs of a run that trains.

        Raises:
            UserError: settings or inputs differ that affect what is computed.
        """
        if self.config_file.exists():
            _check_same(self.config(), config, self.path, free)
        if inputs is not None:
            self.check_inputs(inputs)

    def check_inputs(self, now: RunInputs) -> None:
        """Check that the checkpoints of the run were trained on the same inputs.

        Raises:
            UserError: the inputs differ, or are not recorded.
        """
        newest = self.checkpoints.newest()
        if newest is None:
            return
        records = [record for record in (self._recorded_inputs(), read_inputs(newest)) if record]
        if len(records) < 2:
            raise UserError(
                f"{self.path}: the training videos of this run are not recorded ({self.inputs_file.name} or "
                f"{newest.name} is incomplete), so it cannot resume. {self._restart_hint()}"
            )
        for before in records:
            if changed := before.changes(now):
                raise UserError(
                    f"{self.path} was trained on other inputs ({'; '.join(changed)}). Give the earlier clip store "
                    f"to resume it. {self._restart_hint()}"
                )

    def _recorded_inputs(self) -> RunInputs | None:
        try:
            return read_typed(self.inputs_file, RunInputs, "the training inputs of a run", self._restart_hint())
        except FileNotFoundError:
            return None

    def _restart_hint(self) -> str:
        """Remedy where a run cannot resume."""
        if self.classes_file.exists():
            return "Remove this folder, or give another one (--out), to start over"
        return (
            "Give another folder (--run; with `vicc-ray run`, --out) to start over; or start from weights of this run "
            "in another folder and train the rest of the schedule: `vicc-ray pretrain ... --init-from CHECKPOINT`, "
            "with a "
            f"checkpoint in {self.checkpoints.path}"
        )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the exclusive lock of the run. Workers of a killed run get time to end.

        Raises:
            UserError: another process still holds the lock after ``LOCK_WAIT_S`` seconds.
        """
        with ExitStack() as lock:
            try:
                lock.enter_context(folder_lock(self.path, LOCK_WAIT_S))
            except BlockingIOError:
                raise UserError(f"{self.path}: another process trains in this folder; wait for it or end it") from None
            yield

    def is_training(self) -> bool:
        """Whether a process holds the lock of the run."""
        try:
            with folder_lock(self.path):
                return False
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False

    def config(self) -> Config:
        """Settings of the run.

        Raises:
            UserError: the folder is not a run.
        """
        if not self.config_file.exists():
            raise UserError(f"{self.path}: no run here (no config.yaml); give the folder that `vicc-ray pretrain` made")
        return load_config(str(self.config_file), [])

    def phase_checkpoint(self, phase_index: int, phase_name: str) -> Path:
        """Path of the checkpoint at the end of a phase."""
        return self.checkpoints.path / self.checkpoints.phase(phase_index, phase_name)

    @property
    def step(self) -> int:
        """Step of the newest checkpoint; 0 without one."""
        newest = self.checkpoints.newest()
        return int(read_state(newest)["step"]) if newest else 0

    def consume_checkpoint_request(self) -> bool:
        """Whether a checkpoint was requested by the file ``checkpoint.request``, which is removed."""
        try:
            self.request_file.unlink()
        except FileNotFoundError:
            return False
        return True

    @property
    def paused(self) -> str:
        """Name of the checkpoint whose score the run waits for; "" while it runs."""
        try:
            return read_bounded(self.pause_file, 255).decode(errors="replace")
        except FileNotFoundError:
            return ""
        except (OSError, ValueError) as error:
            raise UserError(f"{self.pause_file}: not the name of a checkpoint ({error}); remove it") from None

    def rewind(self, step: int) -> None:
        """Drop the lines of steps after ``step``, which a resumed run repeats.

        Validation results stay: they belong to checkpoints, and a run never resumes before its newest checkpoint.
        """
        for file in (
            self.metrics_file,
            self.epochs_file,
            self.warnings_file,
            self.samples_file,
            self.checkpoints_file,
        ):
            if file.exists():
                kept = [line for line in read_lines(file, "step") if line["step"] <= step]
                atomic_write(file, "".join(json.dumps(line) + "\n" for line in kept))


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute, for the record."""
    result = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            result[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            result[package] = "not installed"
    return result


def free_settings_of(settings: Mapping[str, Any], free: FreeSettings = FREE_TO_CHANGE) -> FreeSettings:
    """``free``, without the number of workers if the results of ``settings`` depend on it."""
    if settings.get("train", {}).get("batch_norm") != "local":
        return free
    return {**free, "train": set(free.get("train", ())) - {"num_workers"}}


def changed_settings(old: Mapping[str, Any], new: Mapping[str, Any], free_settings: FreeSettings) -> list[str]:
    """Settings that differ but must not, each as "section.name: old -> new"."""
    changed = []
    free_settings = free_settings_of(new, free_settings)
    for section, values in new.items():
        free, before = free_settings.get(section, set()), old.get(section)
        if free == "all" or before == values:
            continue
        if not isinstance(values, dict) or not isinstance(before, dict):
            changed.append(f"{section}: {before} -> {values}")
            continue
        differing = {name: value for name, value in values.items() if before.get(name) != value and name not in free}
        changed += [f"{section}.{name}: {before.get(name)} -> {value}" for name, value in differing.items()]
    return changed


def _check_same(old: Config, new: Config, path: Path, free_settings: FreeSettings) -> None:
    changed = changed_settings(old.model_dump(), new.model_dump(), free_settings)
    if changed:
        listed = "; ".join(changed)
        workers = any(change.startswith("train.num_workers:") for change in changed)
        why = " With train.batch_norm local, results depend on the number of workers." if workers else ""
        raise UserError(
            f"{path} was started with other settings ({listed}).{why} Give the old values to resume it, "
            "or another output folder to start over"
        )
