"""The folder of a run, which explains itself: settings, versions, metrics as JSON lines, checkpoints."""

from __future__ import annotations

import json
import platform
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import metadata
from pathlib import Path

from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.files import atomic_write, folder_lock
from vicc_ray.local_paths import WRITTEN_HERE, local_path
from vicc_ray.recipe import dump_config, load_config
from vicc_ray.training.attempts import Attempts
from vicc_ray.training.checkpoint import read_state
from vicc_ray.training.checkpoint_folder import CheckpointFolder
from vicc_ray.training.json_lines import read_lines

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


class RunFolder:
    """Reads and writes one run's files. Making the object touches nothing."""

    def __init__(self, path: Path | str) -> None:
        self.path = local_path(path, WRITTEN_HERE)
        self.config_file = self.path / "config.yaml"
        self.metrics_file = self.path / "metrics.jsonl"
        self.epochs_file = self.path / "epochs.jsonl"
        self.warnings_file = self.path / "warnings.jsonl"
        self.evaluations_file = self.path / "evaluations.jsonl"
        self.samples_file = self.path / "samples.jsonl"
        self.checkpoints_file = self.path / "checkpoints.jsonl"
        self.classes_file = self.path / "classes.json"
        """Of a classification alone: what it learns."""
        self.failure_file = self.path / "failure.txt"
        self.attempts = Attempts(self.path / "attempts.jsonl")
        self.request_file = self.path / "checkpoint.request"
        self.hold_file = self.path / "hold"
        """The name of a checkpoint: the run waits, until whoever decides by its score has taken the file away."""
        self.checkpoints = CheckpointFolder(self.path / "checkpoints")

    def open(self, config: Config, free: FreeSettings = FREE_TO_CHANGE) -> None:
        """Create the folder for ``config``, or check that it was made with the same settings.

        Args:
            free: settings that may differ.

        Raises:
            UserError: it cannot be written, or settings differ that change what is computed.
        """
        if self.config_file.exists():
            _check_same(self.config(), config, self.path, free)
        try:
            atomic_write(self.config_file, dump_config(config))
            atomic_write(self.path / "versions.json", json.dumps(versions(), indent=1))
            self.checkpoints.path.mkdir(exist_ok=True)
            for old in (self.failure_file, self.request_file):
                old.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be written ({error.strerror}); choose another output folder"
            ) from error

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

    def in_training(self) -> bool:
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

    def turn_checkpoint(self, turn_index: int, turn_name: str) -> Path:
        """Where the checkpoint of the end of a turn lies."""
        return self.checkpoints.path / self.checkpoints.turn(turn_index, turn_name)

    @property
    def step(self) -> int:
        """Steps that the newest checkpoint has made; 0 without one."""
        newest = self.checkpoints.newest()
        return int(read_state(newest)["step"]) if newest else 0

    def take_request(self) -> bool:
        """Whether a checkpoint was asked for (by the file ``checkpoint.request``); asking is over with it."""
        try:
            self.request_file.unlink()
        except FileNotFoundError:
            return False
        return True

    @property
    def held(self) -> str:
        """The checkpoint on whose score the run waits; "" while it goes on."""
        try:
            return self.hold_file.read_text()
        except FileNotFoundError:
            return ""

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
                kept = [line for line in read_lines(file) if line["step"] <= step]
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


def _check_same(old: Config, new: Config, path: Path, free_settings: FreeSettings) -> None:
    changed = []
    for section, values in new.model_dump().items():
        free = free_settings.get(section, set())
        before = old.model_dump()[section]
        if free == "all" or before == values:
            continue
        if not isinstance(values, dict):
            changed.append(f"{section}: {before} -> {values}")
            continue
        changed += [f"{section}.{k}: {before[k]} -> {v}" for k, v in values.items() if before[k] != v and k not in free]
    if changed:
        listed = "; ".join(changed)
        raise UserError(
            f"{path} was started with other settings ({listed}). Give the old values to go on with it, "
            "or another output folder to start anew"
        )
