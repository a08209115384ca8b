"""The folder of a run, which explains itself: settings, versions, metrics as JSON lines, checkpoints."""

from __future__ import annotations

import json
import platform
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from vicc_ray.config import Config
from vicc_ray.config.loader import dump_config, load_config
from vicc_ray.errors import UserError
from vicc_ray.runs.checkpoint_manager import CheckpointManager
from vicc_ray.runs.checkpoint_state import read_inputs, read_state
from vicc_ray.runs.restart_log import RestartLog
from vicc_ray.runs.run_inputs import RunInputs
from vicc_ray.utils.fs import atomic_write, folder_lock
from vicc_ray.utils.json_file import read_as, read_bounded
from vicc_ray.utils.jsonl import read_lines
from vicc_ray.utils.local_paths import WRITTEN_HERE, local_path

FreeSettings = Mapping[str, str | Collection[str]]
"""By section the names of settings, or "all"."""
FREE_TO_CHANGE: FreeSettings = {
    "name": "all",
    "ray": "all",
    "evaluate": "all",
    "classify": "all",
    "train": {
        "workers",
        "worker_cpus",
        "worker_gpus",
        "resize_s",
        "use_gpu",
        "checkpoint_steps",
        "keep_checkpoints",
        "evaluate_epochs",
        "evaluate_videos",
        "max_failures",
        "record_samples",
        "trackers",
        "activation_checkpointing",
    },
}
"""Settings that do not change what pretraining computes: a run may go on with other values of them."""
LOCK_WAIT_S = 20.0
"""Workers whose driver is killed end within seconds."""
PACKAGES = ("vicc-ray", "torch", "torchvision", "ray", "av", "numpy", "opencv-contrib-python-headless")


class RunDir:
    """Reads and writes one run's files. Making the object touches nothing."""

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
        """Of a classification alone: what it learns."""
        self.fatal_error_file = self.path / "fatal_error.txt"
        self.restarts = RestartLog(self.path / "restarts.jsonl")
        self.request_file = self.path / "checkpoint.request"
        self.pause_file = self.path / "pause"
        """The name of a checkpoint: the run waits, until whoever decides by its score has taken the file away."""
        self.checkpoints = CheckpointManager(self.path / "checkpoints")

    def open(self, config: Config, free: FreeSettings = FREE_TO_CHANGE, inputs: RunInputs | None = None) -> None:
        """Create the folder for ``config``, or :meth:`check` that it can go on with it.

        Raises:
            UserError: it cannot be written, or as of :meth:`check`.
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
        """See that the folder is new, or was made with the same settings and inputs; nothing is written.

        Args:
            free: settings that may differ.
            inputs: what is trained on, of a folder in which something is.

        Raises:
            UserError: settings or inputs differ that change what is computed.
        """
        if self.config_file.exists():
            _check_same(self.config(), config, self.path, free)
        if inputs is not None:
            self.check_inputs(inputs)

    def check_inputs(self, now: RunInputs) -> None:
        """See that the run, as far as it has come, was trained on the same; one without a checkpoint has not.

        Raises:
            UserError: it was trained on something else, or it is not known on what.
        """
        newest = self.checkpoints.newest()
        if newest is None:
            return
        records = [record for record in (self._kept_inputs(), read_inputs(newest)) if record]
        if len(records) < 2:
            raise UserError(
                f"{self.path}: which videos this run was trained on is not recorded ({self.inputs_file.name} and "
                f"{newest.name} would tell), so it cannot go on. {self._anew()}"
            )
        for before in records:
            if changed := before.changes(now):
                raise UserError(
                    f"{self.path} was trained on something else ({'; '.join(changed)}). Give the clip store of before "
                    f"to go on with it. {self._anew()}"
                )

    def _kept_inputs(self) -> RunInputs | None:
        try:
            return read_as(self.inputs_file, RunInputs, "what a run was trained on", self._anew())
        except FileNotFoundError:
            return None

    def _anew(self) -> str:
        """What to do where a run cannot go on."""
        if self.classes_file.exists():
            return "Remove this folder, or give another one (--out), to start anew"
        return (
            "Give another folder (--run; of `vicc-ray run`, --out) to start anew; or, in another folder, begin with "
            "weights of this run and train what comes after them in the schedule: `vicc-ray pretrain ... --from "
            f"CHECKPOINT`, one of those in {self.checkpoints.path}"
        )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only process that writes here. The workers of a run that was killed are given time to end.

        Raises:
            UserError: another process still writes here after ``LOCK_WAIT_S`` seconds.
        """
        with ExitStack() as held:
            try:
                held.enter_context(folder_lock(self.path, LOCK_WAIT_S))
            except BlockingIOError:
                raise UserError(
                    f"{self.path}: another process is training in this folder; wait for it or end it"
                ) from None
            yield

    def is_training(self) -> bool:
        """Whether a process writes here now."""
        try:
            with folder_lock(self.path):
                return False
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False

    def config(self) -> Config:
        """The settings that the run was started with.

        Raises:
            UserError: this is not a run's folder.
        """
        if not self.config_file.exists():
            raise UserError(f"{self.path}: no run here (no config.yaml); give the folder that `vicc-ray pretrain` made")
        return load_config(str(self.config_file), [])

    def phase_checkpoint(self, phase_index: int, phase_name: str) -> Path:
        """Where the checkpoint of the end of a phase lies."""
        return self.checkpoints.path / self.checkpoints.phase(phase_index, phase_name)

    @property
    def step(self) -> int:
        """Steps that the newest checkpoint has made; 0 without one."""
        newest = self.checkpoints.newest()
        return int(read_state(newest)["step"]) if newest else 0

    def consume_checkpoint_request(self) -> bool:
        """Whether a checkpoint was asked for (by the file ``checkpoint.request``); asking is over with it."""
        try:
            self.request_file.unlink()
        except FileNotFoundError:
            return False
        return True

    @property
    def paused(self) -> str:
        """The checkpoint on whose score the run waits; "" while it goes on."""
        try:
            return read_bounded(self.pause_file, 255).decode(errors="replace")
        except FileNotFoundError:
            return ""
        except (OSError, ValueError) as error:
            raise UserError(f"{self.pause_file}: no name of a checkpoint ({error}); remove it") from None

    def rewind(self, step: int) -> None:
        """Drop the lines of steps after ``step``: a resumed run makes them again.

        Evaluations stay: they are of checkpoints, which the run does not go back behind.
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
    """Versions of what computes, for the record."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def changed_settings(old: Mapping[str, Any], new: Mapping[str, Any], free_settings: FreeSettings) -> list[str]:
    """Settings by section that differ and may not, each as "section.name: old -> new"."""
    changed = []
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
        raise UserError(
            f"{path} was started with other settings ({listed}). Give the old values to go on with it, "
            "or another output folder to start anew"
        )
