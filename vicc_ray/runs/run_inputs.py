"""Inputs of a run: which videos it trains on and in which order. A run resumes only with the same inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vicc_ray.clip_store.catalog import Catalog
from vicc_ray.clip_store.fingerprint import CLIP_COLUMNS, pixel_settings, videos_fingerprint
from vicc_ray.clip_store.reader import ClipStore


@dataclass(frozen=True)
class RunInputs:
    """``inputs.json`` of a run, and ``inputs`` of each of its checkpoints.

    Attributes:
        videos: number of training videos, without test and validation videos.
        fingerprint: fingerprint of these videos, see :func:`~vicc_ray.clip_store.fingerprint.videos_fingerprint`.
        prepare: settings of the clip store that determine pixels.
        steps_per_epoch: steps of an epoch of the first phase.
        phases: last step of each phase, in order.
    """

    videos: int
    fingerprint: str
    prepare: Mapping[str, Any]
    steps_per_epoch: float
    phases: Mapping[str, int]

    @classmethod
    def of(
        cls,
        store: ClipStore,
        videos: Catalog,
        steps_per_epoch: float,
        phases: Mapping[str, int],
        columns: Sequence[str] = CLIP_COLUMNS,
    ) -> RunInputs:
        """Inputs of a run that trains on ``videos`` of ``store``.

        Args:
            phases: last step of each phase, by name.
            columns: columns of the clip store that training reads.
        """
        return cls(
            videos=len(videos),
            fingerprint=videos_fingerprint(videos, store.settings, columns),
            prepare=pixel_settings(store.settings),
            steps_per_epoch=round(steps_per_epoch, 6),
            phases=phases,
        )

    def as_json(self) -> dict[str, Any]:
        """JSON object; ``RunInputs(**content)`` restores it."""
        return asdict(self)

    def changes(self, now: RunInputs) -> list[str]:
        """Differences to ``now``, each as "name: old -> new"; [] if both are the same."""
        changes = []
        if self.fingerprint != now.fingerprint:
            which = (f"{self.videos} of fingerprint {self.fingerprint}", f"{now.videos} of {now.fingerprint}")
            changes.append(f"training videos: {which[0]} -> {which[1]}")
        changes += [
            f"prepare.{key} of the clip store: {self.prepare.get(key)} -> {now.prepare.get(key)}"
            for key in sorted({*self.prepare, *now.prepare})
            if self.prepare.get(key) != now.prepare.get(key)
        ]
        if self.steps_per_epoch != now.steps_per_epoch:
            changes.append(f"steps per epoch: {self.steps_per_epoch:g} -> {now.steps_per_epoch:g}")
        if list(self.phases.items()) != list(now.phases.items()):
            changes.append(f"last steps of the phases: {_listed(self.phases)} -> {_listed(now.phases)}")
        return changes


def _listed(phases: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {step}" for name, step in phases.items())
