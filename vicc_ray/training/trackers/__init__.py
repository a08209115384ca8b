"""Trackers beside the JSON lines: TensorBoard, MLflow, Weights & Biases. A new one is one file and one line here."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.training.trackers.async_tracker import AsyncTracker, Tracker


@dataclass(frozen=True)
class Kind:
    """``package``: what it imports; ``extra``: of this project, which brings it; ``rewinds``: takes points back."""

    class_name: str
    package: str
    extra: str = ""
    rewinds: bool = False


KINDS = {
    "tensorboard": Kind("TensorBoard", "tensorboardX", rewinds=True),
    "mlflow": Kind("MLflow", "mlflow", extra="mlflow"),
    "wandb": Kind("WandB", "wandb", extra="wandb"),
}


def check_trackers(names: Sequence[str]) -> None:
    """Make sure that the packages of the named trackers are installed.

    Raises:
        UserError: one is not.
    """
    for name in names:
        kind = KINDS[name]
        if find_spec(kind.package) is None:
            wanted = f"vicc-ray[{kind.extra}]" if kind.extra else kind.package
            raise UserError(
                f"train.trackers: {name} given, but the package {kind.package} is not installed; install it with "
                f"`pip install '{wanted}'`, or leave {name} out of train.trackers"
            )


class Trackers:
    """All trackers of a run. None of them can make it fail or wait, see :class:`AsyncTracker`.

    Args:
        run: folder of the run.
        resumed_at: step that the run goes on from; 0 at its start.
        known: by series, the last step that a run before this one has logged: those are not logged again by trackers
            that cannot take points back.
    """

    def __init__(self, run: Path, config: Config, resumed_at: int, known: Mapping[str, int]) -> None:
        self._known = known
        names: tuple[str, ...] = config.train.trackers
        self._all = {name: AsyncTracker(name, partial(_open, name, run, config, resumed_at)) for name in names}
        self._told: set[str] = set()

    def log(self, series: str, step: int, values: Mapping[str, float]) -> None:
        """Add one point to each curve, which is called ``<series>/<name>``."""
        named = {f"{series}/{name}": value for name, value in values.items()}
        for name, tracker in self._all.items():
            if KINDS[name].rewinds or step > self._known.get(series, 0):
                tracker.log(step, named)

    def failures(self) -> dict[str, str]:
        """What has gone wrong since the last call, by tracker; each is told of once."""
        failed = {name: tracker.failure for name, tracker in self._all.items() if tracker.failure}
        new = {name: text for name, text in failed.items() if name not in self._told}
        self._told.update(new)
        return new

    def close(self) -> None:
        """Wait, within bounds, until everything is written."""
        for tracker in self._all.values():
            tracker.close()


def _open(name: str, run: Path, config: Config, resumed_at: int) -> Tracker:
    module = importlib.import_module(f"{__name__}.{name}")
    made: Tracker = getattr(module, KINDS[name].class_name)(run, config, resumed_at)
    return made
