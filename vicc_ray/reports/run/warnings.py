"""What went wrong in the phases of a run, by the figures at their ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from vicc_ray.config import Config
from vicc_ray.training.monitoring.diagnostics import diagnose_finished_phase

FROM_STEPS = ("loss", "entropy", "assignment_entropy")


def warnings(
    phases: list[dict[str, Any]], config: Config, checks: Sequence[dict[str, Any]] = ()
) -> list[dict[str, str]]:
    """Phases that did not learn or whose assignments or embeddings collapsed, each as
    ``{"phase", "name", "kind", "text"}``.

    Args:
        phases: as :func:`vicc_ray.reports.run.curves.read_phases` returns them, with their ``name`` in words and
            their ``epochs`` (None where none are recorded).
        config: settings of the run.
        checks: the held-out checks in order.
    """
    newest = {check["phase"]: check for check in checks if "phase" in check}
    return [
        {"phase": phase["phase"], "name": phase["name"], "kind": problem.kind, "text": problem.text}
        for phase in phases
        for problem in diagnose_finished_phase(_end(phase), config, phase["steps"], newest.get(phase["phase"]))
    ]


def _end(phase: dict[str, Any]) -> dict[str, Any]:
    """The figures of a phase's last epoch; those that steps tell too are of the last tenth of them."""
    last = phase["epochs"]["last"] if phase["epochs"] else {}
    ended = {name: phase["end"][name] for name in FROM_STEPS if phase["end"][name] is not None}
    broken = {"loss": math.nan} if phase["diverged"] else {}
    return {
        **{key: phase[key] for key in ("stage", "stream")},
        **last,
        **ended,
        **broken,
        **({"ln_k": phase["ln_k"]} if phase["ln_k"] else {}),
    }
