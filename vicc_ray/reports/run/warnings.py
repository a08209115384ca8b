"""What went wrong in the turns of a run, by the figures at their ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from vicc_ray.config import Config
from vicc_ray.training.monitoring.diagnostics import problems_at_end

FROM_STEPS = ("loss", "entropy", "assignment_entropy")


def warnings(
    turns: list[dict[str, Any]], config: Config, checks: Sequence[dict[str, Any]] = ()
) -> list[dict[str, str]]:
    """Turns that did not learn or whose assignments or embeddings collapsed, each as
    ``{"turn", "name", "kind", "text"}``.

    Args:
        turns: as :func:`vicc_ray.reports.run.curves.read_turns` returns them, with their ``name`` in words and
            their ``epochs`` (None where none are recorded).
        config: settings of the run.
        checks: the held-out checks in order.
    """
    newest = {check["turn"]: check for check in checks if "turn" in check}
    return [
        {"turn": turn["turn"], "name": turn["name"], "kind": problem.kind, "text": problem.text}
        for turn in turns
        for problem in problems_at_end(_end(turn), config, turn["steps"], newest.get(turn["turn"]))
    ]


def _end(turn: dict[str, Any]) -> dict[str, Any]:
    """The figures of a turn's last epoch; those that steps tell too are of the last tenth of them."""
    last = turn["epochs"]["last"] if turn["epochs"] else {}
    ended = {name: turn["end"][name] for name in FROM_STEPS if turn["end"][name] is not None}
    broken = {"loss": math.nan} if turn["diverged"] else {}
    return {
        **{key: turn[key] for key in ("stage", "stream")},
        **last,
        **ended,
        **broken,
        **({"ln_k": turn["ln_k"]} if turn["ln_k"] else {}),
    }
