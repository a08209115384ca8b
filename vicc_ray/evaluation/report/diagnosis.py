"""What the curves of a run say about its health, in plain words."""

from __future__ import annotations

import math
from typing import Any

LEARNT = 0.97  # a loss above this share of ln K at the end of a turn has learnt (next to) nothing
BALANCED = 0.6  # mean assignments below this share of the largest entropy possible crowd on few prototypes
USED = 0.2  # the same for the share of prototypes that are anyone's first choice


def warnings(turns: list[dict[str, Any]], batch: int) -> list[dict[str, str]]:
    """Turns that did not learn or whose assignments collapsed, each as
    ``{"turn", "name", "kind", "text"}``.

    Args:
        turns: as :func:`vicc_ray.evaluation.report.curves.read_turns` returns them, with their ``name`` in words.
        batch: samples of a global step: no step can use more prototypes than it has samples.
    """
    found = []
    for turn in turns:
        for kind, text in (_diverged(turn), _not_learning(turn), _crowded(turn, batch)):
            if text:
                found.append({"turn": turn["turn"], "name": turn["name"], "kind": kind, "text": text})
    return found


def _diverged(turn: dict[str, Any]) -> tuple[str, str]:
    broken = turn["diverged"]
    return "diverged", (
        "the loss is no longer a number: the network has diverged. Lower optimiser.learning_rate." if broken else ""
    )


def _not_learning(turn: dict[str, Any]) -> tuple[str, str]:
    loss, ln_k = turn["end"]["loss"], turn["ln_k"]
    if loss is None or not ln_k or loss < LEARNT * ln_k:
        return "not-learning", ""
    return "not-learning", (
        f"the loss ended at {loss:.2f}, which is ln K = {ln_k:.2f}: predictions are no better than giving every "
        "prototype the same share. This turn has learnt nothing, and a turn that builds on it starts from nothing. "
        "More steps, fewer prototypes (method.prototypes) or another learning rate help most often."
    )


def _crowded(turn: dict[str, Any], batch: int) -> tuple[str, str]:
    entropy, ln_k, used = turn["end"]["entropy"], turn["ln_k"], turn["end"]["prototypes_used"]
    if entropy is None or not ln_k:
        return "collapsed", ""
    prototypes = round(math.exp(ln_k))
    reachable = min(prototypes, batch)
    if entropy < BALANCED * math.log(reachable):
        return "collapsed", (
            f"the assignments collapsed: their mean has an entropy of {entropy:.2f} where {math.log(reachable):.2f} is "
            f"possible, so most videos share a few of the {prototypes} prototypes. Use a larger batch or queue, fewer "
            "prototypes, or a larger method.epsilon."
        )
    if used is not None and used < USED * reachable:
        return "collapsed", (
            f"only {used:.0f} of {prototypes} prototypes are any video's first choice in a step of {batch} videos: the "
            "others are dead. Use fewer prototypes or keep them frozen for longer (method.freeze_prototypes)."
        )
    return "collapsed", ""
