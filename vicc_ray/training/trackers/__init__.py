"""Experiment trackers of a run, besides its JSON lines; :data:`vicc_ray.registry.TRACKERS` lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.registry import TRACKERS, load_class
from vicc_ray.training.trackers.async_tracker import AsyncTracker, Tracker


def check_trackers(names: Sequence[str]) -> None:
    """Check that the packages of the named trackers are installed.

    Raises:
        UserError: a package is missing.
    """
    for name in names:
        spec = TRACKERS[name]
        if find_spec(spec.package) is None:
            requirement = f"vicc-ray[{spec.extra}]" if spec.extra else spec.package
            raise UserError(
                f"train.trackers: {name} given, but the package {spec.package} is not installed; install it with "
                f"`pip install '{requirement}'`, or leave {name} out of train.trackers"
            )


class Trackers:
    """All trackers of a run. None can make it fail or wait, see :class:`AsyncTracker`.

    Args:
        run: folder of the run.
        resumed_at: step that the run resumes from; 0 at its start.
        known: last step logged before a restart, by series. Trackers that cannot rewind do not log up to it again.
    """

    def __init__(self, run: Path, config: Config, resumed_at: int, known: Mapping[str, int]) -> None:
        self._known = known
        names: tuple[str, ...] = config.train.trackers
        self._all = {name: AsyncTracker(name, partial(_open, name, run, config, resumed_at)) for name in names}
        self._reported: set[str] = set()

    def log(self, series: str, step: int, values: Mapping[str, float]) -> None:
        """Add one point to each curve ``<series>/<name>``."""
        named = {f"{series}/{name}": value for name, value in values.items()}
        for name, tracker in self._all.items():
            if TRACKERS[name].rewinds or step > self._known.get(series, 0):
                tracker.log(step, named)

    def failures(self) -> dict[str, str]:
        """Failures since the last call, by tracker; each is returned once."""
        failed = {name: tracker.failure for name, tracker in self._all.items() if tracker.failure}
        new = {name: text for name, text in failed.items() if name not in self._reported}
        self._reported.update(new)
        return new

    def close(self) -> None:
        """Flush all trackers, within a time limit."""
        for tracker in self._all.values():
            tracker.close()


def _open(name: str, run: Path, config: Config, resumed_at: int) -> Tracker:
    create: Callable[[Path, Config, int], Tracker] = load_class(TRACKERS[name])
    return create(run, config, resumed_at)
