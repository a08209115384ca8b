"""Context of a diagnostic: a phase with too few steps, and its validation score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vicc_ray.config import Config

FEW_STEPS = 100
"""Steps of a phase below which their number is the likeliest cause; the demo's shortest phase has 200."""
EPOCHS = {1: "schedule.{stream}_epochs", 2: "schedule.epochs_per_phase"}
"""Setting of a phase's length, by stage."""


def few_steps(phase: Mapping[str, Any], steps: float | None, config: Config) -> str:
    """Sentence that a phase had too few steps, and the settings for more; "" if it had enough or this is unknown.

    Args:
        phase: line of epochs.jsonl with ``steps``, ``stage`` and ``stream``.
        steps: steps of the whole phase.
        config: settings of its stage.
    """
    if steps is None or steps >= FEW_STEPS:
        return ""
    each = phase.get("steps") or steps
    key = EPOCHS[int(phase.get("stage") or 1)].format(stream=phase.get("stream") or "rgb")
    epochs = getattr(config.schedule, key.partition(".")[2])
    return (
        f"{steps:.0f} steps in all (about {each:.0f} per epoch) are too few to learn much, which is the "
        f"likeliest cause. Raise {key} (now {epochs}), or lower {config.key_of('train', 'global_batch_size')} (now "
        f"{config.train.global_batch_size}) for more steps per epoch."
    )


def validation_summary(check: Mapping[str, Any] | None) -> str:
    """Validation R@1 of a phase's network as a sentence; "" without validation."""
    if not check:
        return ""
    low, high, chance = check["low"], check["high"], check.get("chance")
    against = ""
    if chance is not None:
        against = f"; {'above' if low > chance else 'not clearly above'} chance, {100 * chance:.1f} %"
    return (
        f"Held-out R@1 is {100 * check['recall_at_1']:.1f} % (95 % interval {100 * low:.1f} to {100 * high:.1f}, "
        f"{check['videos']} videos{against})."
    )
