"""Diagnostics of a phase: the rules that its statistics break, each with the settings that most often help."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vicc_ray.config import Config
from vicc_ray.training.monitoring.rules import (
    IMPLIES,
    STATE,
    TREND,
    Epoch,
    Rule,
    ended_at_chance,
    get,
    not_learned,
)
from vicc_ray.training.monitoring.short_phase import few_steps, validation_summary

WITH_ARTICLE = {"rgb": "an RGB", "flow": "a flow"}
SLOW = ("uniform_assignments", "prototype_collapse", "dimensional_collapse", "not_learning")
"""Findings that more steps may resolve."""


@dataclass(frozen=True)
class Diagnostic:
    """Finding of a rule.

    Attributes:
        kind: name of the finding, the same in every epoch.
        text: measurement, meaning, and settings to change.
    """

    kind: str
    text: str


def diagnose_phase(phase: Sequence[Epoch], config: Config) -> list[Diagnostic]:
    """Diagnostics of a running phase, from its epochs so far (at least one), the newest last."""
    return _apply({**STATE, **TREND}, phase, config)


def diagnose_finished_phase(
    last: Epoch, config: Config, steps: float | None = None, check: Mapping[str, Any] | None = None
) -> list[Diagnostic]:
    """Diagnostics of a finished phase; later phases build on its network.

    Args:
        last: statistics of its last epoch.
        steps: steps of the phase; a small number is stated first, as the likeliest cause.
        check: its last line of validation.jsonl.
    """
    config = config.of_stage(int(last.get("stage") or 1))
    cause, validation = few_steps(last, steps, config), validation_summary(check)
    rules = {**STATE, "not_learning": ended_at_chance if cause else not_learned}
    return [
        _with_context(problem, cause if problem.kind in SLOW else "", validation)
        for problem in _apply(rules, [last], config)
    ]


def diagnose_initial_networks(
    epochs: Sequence[Epoch], streams: Sequence[str], config: Config, checks: Sequence[Mapping[str, Any]] = ()
) -> list[Diagnostic]:
    """Diagnostics of the networks that a stage-2 phase starts from.

    Args:
        epochs: epochs of the phases before it, in order; the newest phase of each stream counts.
        streams: streams whose networks it uses.
        checks: lines of validation.jsonl.
    """
    diagnostics = []
    for stream in streams:
        stream_epochs = [epoch for epoch in epochs if epoch.get("stream") == stream]
        if not stream_epochs:
            continue
        phase = stream_epochs[-1]["phase"]
        steps = sum(get(epoch, "steps") for epoch in stream_epochs if epoch["phase"] == phase)
        check = next((check for check in reversed(checks) if check["phase"] == phase), None)
        for problem in diagnose_finished_phase(stream_epochs[-1], config, None if math.isnan(steps) else steps, check):
            text = (
                f"this phase starts from {WITH_ARTICLE[stream]} network that collapsed or learned nothing. At the end "
                f"of {phase}: {problem.text} Such a phase seldom recovers: stop, and train {phase} "
                "again in another output folder."
            )
            diagnostics.append(Diagnostic(f"starts_from_{stream}_{problem.kind}", text))
    return diagnostics


def _with_context(problem: Diagnostic, cause: str, validation: str) -> Diagnostic:
    """Diagnostic with the sentence ``cause`` before and ``validation`` after its text, where there are any."""
    text = f"{cause} {problem.text[:1].upper()}{problem.text[1:]}" if cause else problem.text
    return Diagnostic(problem.kind, f"{text} {validation}" if validation else text)


def _apply(rules: Mapping[str, Rule], phase: Sequence[Epoch], config: Config) -> list[Diagnostic]:
    found = {kind: text for kind, rule in rules.items() if (text := rule(phase, config))}
    implied = {other for kind in found for other in IMPLIES.get(kind, ())}
    return [Diagnostic(kind, text) for kind, text in found.items() if kind not in implied]
