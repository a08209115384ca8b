"""What the figures of a phase's epochs say has gone wrong, with the settings that most often put it right.

The thresholds lie between short runs of the demo as it is and with one setting spoilt
(docs/reference/run-directory.md).
D embedding, K prototypes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vicc_ray.config import Config
from vicc_ray.registry import OBJECTIVES
from vicc_ray.training.monitoring.short_phase import few_steps, validation_summary

Epoch = Mapping[str, Any]
"""A line of epochs.jsonl: the figures of :mod:`vicc_ray.training.monitoring.epoch_stats`; None where one was no number.

``ln_k`` is there where the objective has prototypes; ``chance_loss`` is the loss of a network that tells nothing apart,
ln K if it is not given. A figure that is not there (another objective, an older run) is not judged.
"""
Rule = Callable[[Sequence[Epoch], Config], str]

WITH_ARTICLE = {"rgb": "an RGB", "flow": "a flow"}
UNIFORM = 0.995
"""Share of ln K from which on the entropy of single assignments says that they say nothing. A cross-stream phase of the
demo that ends well comes to 0.983 in its third epoch."""
CROWDED = 0.6
"""First choices that count for fewer prototypes than this share of what chance gives are crowded."""
BALANCED = 0.6
"""The same for the entropy of a step's mean assignment, as a share of the largest possible."""
FLAT = 0.5
"""An effective rank below the smaller of D and K to this power is flat."""
STUCK, FALLING = 0.99, 0.99
"""A loss from STUCK times chance on that has not fallen to FALLING times itself in ``PATIENCE`` epochs stands still."""
LEARNT = 0.97
"""A loss from this share of chance on at the end of a phase has learnt (next to) nothing."""
PATIENCE = 3
FEWEST_STEPS = 25
"""Steps, of as many epochs as it takes, before being at chance counts as staying there."""
OVER, RISE = 1.1, 1.05
"""A loss above OVER times chance that grew by RISE in an epoch: steps are too long. A healthy one falls up there."""
GROWTH = 10.0
"""Times by which the gradient may grow from epoch to epoch."""
NO_GRADIENT = 1e-9


@dataclass(frozen=True)
class Diagnostic:
    """``kind``: a word that stays the same from epoch to epoch; ``text``: measured, meaning, what to change."""

    kind: str
    text: str


def diagnose_phase(phase: Sequence[Epoch], config: Config) -> list[Diagnostic]:
    """What is wrong with a running phase, given its epochs so far (at least one), the newest last."""
    return _judge({**STATE, **TREND}, phase, config)


def diagnose_finished_phase(
    last: Epoch, config: Config, steps: float | None = None, check: Mapping[str, Any] | None = None
) -> list[Diagnostic]:
    """What is wrong with a phase that ended with these figures; others build on its network.

    Args:
        steps: of the phase; where they were few, this comes first.
        check: its last line of validation.jsonl.
    """
    first, seen = few_steps(last, steps, config), validation_summary(check)
    found = _judge({**STATE, "not-learning": _ended_at_chance if first else _not_learnt}, [last], config)
    return [_told(problem, first if problem.kind in SLOW else "", seen) for problem in found]


def diagnose_initial_networks(
    epochs: Sequence[Epoch], streams: Sequence[str], config: Config, checks: Sequence[Mapping[str, Any]] = ()
) -> list[Diagnostic]:
    """What is wrong with the networks that a stage-2 phase starts from.

    Args:
        epochs: of the phases before it, in order; the newest of each stream counts.
        streams: those whose networks it uses.
        checks: lines of validation.jsonl.
    """
    found = []
    for stream in streams:
        own = [epoch for epoch in epochs if epoch.get("stream") == stream]
        if not own:
            continue
        phase = own[-1]["phase"]
        steps = sum(_get(epoch, "steps") for epoch in own if epoch["phase"] == phase)
        check = next((check for check in reversed(checks) if check["phase"] == phase), None)
        for problem in diagnose_finished_phase(own[-1], config, None if math.isnan(steps) else steps, check):
            text = (
                f"this phase starts from {WITH_ARTICLE[stream]} network that collapsed or learned nothing. At the end "
                f"of {phase}: {problem.text} A phase that starts so seldom recovers: better stop, and train {phase} "
                "again in another output folder."
            )
            found.append(Diagnostic(f"starts-from-{stream}-{problem.kind}", text))
    return found


def _told(problem: Diagnostic, first: str, seen: str) -> Diagnostic:
    """With a sentence before it and one after it, where there are any."""
    text = f"{first} {problem.text[:1].upper()}{problem.text[1:]}" if first else problem.text
    return Diagnostic(problem.kind, f"{text} {seen}" if seen else text)


def _judge(rules: Mapping[str, Rule], phase: Sequence[Epoch], config: Config) -> list[Diagnostic]:
    found = {kind: text for kind, rule in rules.items() if (text := rule(phase, config))}
    implied = {other for kind in found for other in IMPLIES.get(kind, ())}
    return [Diagnostic(kind, text) for kind, text in found.items() if kind not in implied]


def _diverged(phase: Sequence[Epoch], config: Config) -> str:
    broken = [name for name in ("loss", "gradient_norm") if not math.isfinite(_get(phase[-1], name, missing=0.0))]
    if not broken:
        return ""
    return f"the {broken[0].removesuffix('_norm')} is no longer a number: the network has diverged. {_shorter(config)}."


def _uniform(phase: Sequence[Epoch], config: Config) -> str:
    entropy, ln_k = _get(phase[-1], "assignment_entropy"), _get(phase[-1], "ln_k")
    if not _stays(phase, "assignment_entropy", UNIFORM):
        return ""
    return (
        f"assignments are all but uniform: the entropy of single ones is {entropy:.3f}, where ln K = {ln_k:.3f} is the "
        f"most, so the prototypes tell no two videos apart. Lower {_now(config, 'method.sinkhorn_epsilon')} or "
        f"{_now(config, 'optimizer.learning_rate')}, or raise {_start(config)}."
    )


def _crowded(phase: Sequence[Epoch], config: Config) -> str:
    return _few_choices(phase[-1], config) or _unbalanced(phase[-1], config)


def _few_choices(epoch: Epoch, config: Config) -> str:
    effective, count = _get(epoch, "prototypes_effective"), config.method.num_prototypes
    samples = _get(epoch, "steps") * config.train.global_batch_size
    if not effective < CROWDED * _effective_by_chance(count, samples):
        return ""
    return (
        f"prototypes are dying: {_get(epoch, 'prototypes_in_use') * count:.0f} of {count} were the first choice of any "
        f"of {samples:.0f} samples, and they count for {effective * count:.1f} equally used ones. Use fewer "
        f"{_now(config, 'method.num_prototypes')}, lower {_now(config, 'optimizer.learning_rate')} or raise "
        f"{_start(config)}."
    )


def _unbalanced(epoch: Epoch, config: Config) -> str:
    entropy, most = _get(epoch, "entropy"), math.log(min(config.method.num_prototypes, config.train.global_batch_size))
    if not entropy < BALANCED * most:
        return ""
    return (
        f"assignments crowd: their mean has an entropy of {entropy:.2f} where {most:.2f} is possible, so most videos "
        f"share a few of the {config.method.num_prototypes} prototypes. Raise "
        f"{_now(config, 'method.sinkhorn_iterations')} or {_now(config, 'method.sinkhorn_epsilon')}, use fewer "
        f"{_now(config, 'method.num_prototypes')} or raise {_start(config)}."
    )


def _flat(phase: Sequence[Epoch], config: Config) -> str:
    rank, most = _get(phase[-1], "effective_rank"), config.model.embed_dim
    wanted = (min(most, config.method.num_prototypes) if _has_prototypes(config) else most) ** FLAT
    if not rank < wanted:
        return ""
    return (
        f"the embeddings collapse into few dimensions: their effective rank is {rank:.1f} of {most}; 1 would be all "
        f"alike, and from {wanted:.1f} on it is well. Lower {_now(config, 'optimizer.learning_rate')} or raise "
        f"{_start(config)}. Where it is so from the first epoch on, look at the videos: clips that are all alike "
        "(black, still) end here too."
    )


def _no_gradient(phase: Sequence[Epoch], config: Config) -> str:
    norm = _get(phase[-1], "gradient_norm")
    if not norm < NO_GRADIENT:
        return ""
    return (
        f"the norm of the gradient is {norm:.1e}: nothing is learnt, since the embeddings no longer depend on the "
        f"videos. {_shorter(config)}."
    )


def _stuck(phase: Sequence[Epoch], config: Config) -> str:
    learning = phase[config.optimizer.warmup_epochs + config.method.freeze_prototypes_epochs :][-PATIENCE:]
    loss = _get(phase[-1], "loss")
    if len(learning) < PATIENCE or not _stays(learning, "loss", STUCK, epochs=PATIENCE):
        return ""
    if loss < FALLING * _get(learning[0], "loss"):
        return ""
    return (
        f"the loss has stayed for {PATIENCE} epochs where predictions are no better than chance ({loss:.3f}; "
        f"{_chance_in_words(phase[-1], config)}). {_ways_to_learn(config)}."
    )


def _ended_at_chance(phase: Sequence[Epoch], config: Config) -> str:
    loss = _get(phase[-1], "loss")
    if not loss >= LEARNT * _chance(phase[-1]):
        return ""
    return f"the loss ended at {loss:.2f} ({_chance_in_words(phase[-1], config)}): the phase has learnt nothing."


def _not_learnt(phase: Sequence[Epoch], config: Config) -> str:
    measured = _ended_at_chance(phase, config)
    return measured and f"{measured} Train for more epochs. {_ways_to_learn(config)}."


def _rising(phase: Sequence[Epoch], config: Config) -> str:
    before, loss = _before(phase, "loss"), _get(phase[-1], "loss")
    if not (loss > OVER * _chance(phase[-1]) and loss > RISE * before):
        return ""
    return (
        f"the loss rises: {before:.2f} in the epoch before, {loss:.2f} now; {_chance_in_words(phase[-1], config)}. "
        f"{_shorter(config)}."
    )


def _exploding(phase: Sequence[Epoch], config: Config) -> str:
    before, norm = _before(phase, "gradient_norm"), _get(phase[-1], "gradient_norm")
    if not norm > GROWTH * before:
        return ""
    return f"the gradient explodes: its norm was {before:.3g} an epoch ago and is {norm:.3g}. {_shorter(config)}."


STATE: dict[str, Rule] = {
    "diverged": _diverged,
    "uniform": _uniform,
    "crowded": _crowded,
    "flat": _flat,
    "no-gradient": _no_gradient,
}
"""Wrong whenever it is so."""
TREND: dict[str, Rule] = {"stuck": _stuck, "rising": _rising, "exploding": _exploding}
"""Wrong by comparison with the epochs before."""
IMPLIES = {"uniform": ("crowded", "stuck", "not-learning"), "crowded": ("stuck",), "flat": ("stuck",)}
"""What is not told beside the kind that explains it: first choices among equals, say, are rounding noise."""


SLOW = ("uniform", "crowded", "flat", "not-learning")
"""What more steps may put right."""


def _stays(phase: Sequence[Epoch], name: str, share: float, epochs: int = 1) -> bool:
    """Whether a figure has been at this share of chance for so many epochs, and for ``FEWEST_STEPS`` steps, up to now.

    Epochs of an unknown number of steps count as long enough.
    """
    steps = 0.0
    for n, epoch in enumerate(reversed(phase), 1):
        if not _get(epoch, name) >= share * _chance(epoch):
            return False
        steps += _get(epoch, "steps", missing=FEWEST_STEPS)
        if n >= epochs and steps >= FEWEST_STEPS:
            return True
    return False


def _effective_by_chance(prototypes: int, samples: float) -> float:
    """Share of K prototypes that count where each of N samples prefers one at random.

    The entropy of counts falls short of ln K by about (K - 1) / 2 N (Miller, Note on the bias of information estimates,
    1955).
    """
    return math.exp(-(prototypes - 1) / (2 * samples)) if samples > 0 else math.nan


def _get(epoch: Epoch, name: str, missing: float = math.nan) -> float:
    """A figure; NaN where it was no number, ``missing`` where it is not there. Comparisons with NaN are false."""
    value = epoch.get(name, missing)
    return math.nan if value is None else float(value)


def _chance(epoch: Epoch) -> float:
    """The loss, and the entropy of an assignment, of a network that tells nothing apart."""
    return _get(epoch, "chance_loss", missing=_get(epoch, "ln_k"))


def _chance_in_words(epoch: Epoch, config: Config) -> str:
    uniform = "ln K, uniform over prototypes" if _has_prototypes(config) else "uniform over candidates"
    return f"chance is {_chance(epoch):.3f}: {uniform}"


def _ways_to_learn(config: Config) -> str:
    rate = _now(config, "optimizer.learning_rate")
    if not _has_prototypes(config):
        return f"Use another {rate} or raise {_now(config, 'optimizer.warmup_epochs')}"
    fewer, sharper = _now(config, "method.num_prototypes"), _now(config, "method.sinkhorn_epsilon")
    return f"Use fewer {fewer}, a lower {sharper} or another {rate}, or raise {_start(config)}"


def _has_prototypes(config: Config) -> bool:
    return OBJECTIVES[config.method.objective].has_prototypes


def _before(phase: Sequence[Epoch], name: str) -> float:
    return _get(phase[-2], name) if len(phase) > 1 else math.nan


def _shorter(config: Config) -> str:
    lower, raise_ = _now(config, "optimizer.learning_rate"), _now(config, "optimizer.warmup_epochs")
    return f"Lower {lower} or raise {raise_}, and start in another output folder"


def _start(config: Config) -> str:
    """The settings that keep the start of a phase calm, as far as the run uses them."""
    frozen = [_now(config, "method.freeze_prototypes_epochs")] if _has_prototypes(config) else []
    queue = [_now(config, "method.queue_start_epoch")] if config.method.queue_size else []
    *others, warmup = [*frozen, *queue, _now(config, "optimizer.warmup_epochs")]
    return f"{', '.join(others)}, or {warmup}" if others else warmup


def _now(config: Config, key: str) -> str:
    """A setting with its value in this run."""
    section, name = key.split(".")
    if getattr(config.stage2, name, None) is not None:
        key = f"stage2.{name}"
    return f"{key} (now {getattr(getattr(config, section), name):g})"
