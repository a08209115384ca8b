"""Diagnostic rules: collapse, divergence and lack of progress, from the statistics of a phase's epochs.

The thresholds separate short runs of the demo from runs of it with one setting spoiled
(docs/reference/run-directory.md).
D embedding, K prototypes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vicc_ray.config import Config
from vicc_ray.registry import OBJECTIVES

Epoch = Mapping[str, Any]
"""Line of epochs.jsonl: statistics of :mod:`vicc_ray.training.monitoring.epoch_stats`, None for a non-finite value.

``chance_loss`` is the loss of a uniform prediction, by default ``ln_k``. Rules skip statistics that are missing.
"""
Rule = Callable[[Sequence[Epoch], Config], str]
"""Rule over the epochs of a phase, the newest last: the text of its finding, "" if there is none."""

UNIFORM_ENTROPY = 0.995
"""Fraction of ln K from which the entropy of single assignments counts as uniform. A healthy cross-stream phase of the
demo reaches 0.983 in its third epoch."""
MIN_EFFECTIVE_PROTOTYPES = 0.6
"""Prototypes collapse where their effective number is below this fraction of that of random choices."""
MIN_MEAN_ENTROPY = 0.6
"""The same for the entropy of a step's mean assignment, as a fraction of its maximum."""
MIN_RANK_POWER = 0.5
"""Embeddings collapse where their effective rank is below the smaller of D and K to this power."""
AT_CHANCE, FALLING = 0.99, 0.99
"""A plateau: a loss of at least AT_CHANCE times chance, not down to FALLING times itself in ``PATIENCE`` epochs."""
NOT_LEARNED = 0.97
"""A phase that ends at this fraction of the chance loss or above has learned nothing."""
PATIENCE = 3
FEWEST_STEPS = 25
"""Steps at chance, over one or more epochs, before a rule applies."""
ABOVE_CHANCE, RISE = 1.1, 1.05
"""An increase: a loss above ABOVE_CHANCE times chance that grew by RISE in an epoch."""
GROWTH = 10.0
"""Factor by which the gradient norm may grow from epoch to epoch."""
NO_GRADIENT = 1e-9


def _diverged(phase: Sequence[Epoch], config: Config) -> str:
    non_finite = [name for name in ("loss", "gradient_norm") if not math.isfinite(get(phase[-1], name, missing=0.0))]
    if not non_finite:
        return ""
    name = non_finite[0].removesuffix("_norm")
    return f"the {name} is no longer a finite number: the network has diverged. {_smaller_steps(config)}."


def _uniform_assignments(phase: Sequence[Epoch], config: Config) -> str:
    entropy, ln_k = get(phase[-1], "assignment_entropy"), get(phase[-1], "ln_k")
    if not _stays_at_chance(phase, "assignment_entropy", UNIFORM_ENTROPY):
        return ""
    return (
        f"assignments are almost uniform: the mean entropy of single assignments is {entropy:.3f}, of at most ln K = "
        f"{ln_k:.3f}, so the prototypes do not distinguish videos. Lower "
        f"{_setting(config, 'method.sinkhorn_epsilon')} or "
        f"{_setting(config, 'optimizer.learning_rate')}, or raise {_stabilizers(config)}."
    )


def _prototype_collapse(phase: Sequence[Epoch], config: Config) -> str:
    return _few_choices(phase[-1], config) or _unbalanced(phase[-1], config)


def _few_choices(epoch: Epoch, config: Config) -> str:
    effective, count = get(epoch, "prototypes_effective"), config.method.num_prototypes
    samples = get(epoch, "steps") * config.train.global_batch_size
    if not effective < MIN_EFFECTIVE_PROTOTYPES * _effective_by_chance(count, samples):
        return ""
    return (
        f"prototypes collapse: {get(epoch, 'prototypes_in_use') * count:.0f} of {count} were the first choice of any "
        f"of {samples:.0f} samples, and their use amounts to {effective * count:.1f} equally used ones. Use fewer "
        f"{_setting(config, 'method.num_prototypes')}, lower {_setting(config, 'optimizer.learning_rate')} or "
        f"raise {_stabilizers(config)}."
    )


def _unbalanced(epoch: Epoch, config: Config) -> str:
    entropy, most = get(epoch, "entropy"), math.log(min(config.method.num_prototypes, config.train.global_batch_size))
    if not entropy < MIN_MEAN_ENTROPY * most:
        return ""
    return (
        f"prototypes collapse: the mean assignment has an entropy of {entropy:.2f} of at most {most:.2f}, so most "
        f"videos share a few of the {config.method.num_prototypes} prototypes. Raise "
        f"{_setting(config, 'method.sinkhorn_iterations')} or {_setting(config, 'method.sinkhorn_epsilon')}, use "
        f"fewer {_setting(config, 'method.num_prototypes')} or raise {_stabilizers(config)}."
    )


def _dimensional_collapse(phase: Sequence[Epoch], config: Config) -> str:
    rank, most = get(phase[-1], "effective_rank"), config.model.embed_dim
    wanted = (min(most, config.method.num_prototypes) if _has_prototypes(config) else most) ** MIN_RANK_POWER
    if not rank < wanted:
        return ""
    return (
        f"the embeddings collapse into few dimensions: their effective rank is {rank:.1f} of {most}; 1 means "
        f"that all are equal, {wanted:.1f} or more is healthy. Lower {_setting(config, 'optimizer.learning_rate')} or "
        f"raise {_stabilizers(config)}. If it is so from the first epoch on, check the videos: identical clips "
        "(black, still) have the same effect."
    )


def _no_gradient(phase: Sequence[Epoch], config: Config) -> str:
    norm = get(phase[-1], "gradient_norm")
    if not norm < NO_GRADIENT:
        return ""
    return (
        f"the norm of the gradient is {norm:.1e}: nothing is learned, since the embeddings no longer depend on the "
        f"videos. {_smaller_steps(config)}."
    )


def _plateau_at_chance(phase: Sequence[Epoch], config: Config) -> str:
    learning = phase[config.optimizer.warmup_epochs + config.method.freeze_prototypes_epochs :][-PATIENCE:]
    loss = get(phase[-1], "loss")
    if len(learning) < PATIENCE or not _stays_at_chance(learning, "loss", AT_CHANCE, epochs=PATIENCE):
        return ""
    if loss < FALLING * get(learning[0], "loss"):
        return ""
    return (
        f"the loss has stayed for {PATIENCE} epochs at chance ({loss:.3f}; "
        f"{_chance_in_words(phase[-1], config)}). {_ways_to_learn(config)}."
    )


def ended_at_chance(phase: Sequence[Epoch], config: Config) -> str:
    loss = get(phase[-1], "loss")
    if not loss >= NOT_LEARNED * _chance(phase[-1]):
        return ""
    return f"the loss ended at {loss:.2f} ({_chance_in_words(phase[-1], config)}): the phase has learned nothing."


def not_learned(phase: Sequence[Epoch], config: Config) -> str:
    measured = ended_at_chance(phase, config)
    return measured and f"{measured} Train for more epochs. {_ways_to_learn(config)}."


def _loss_increase(phase: Sequence[Epoch], config: Config) -> str:
    before, loss = _previous(phase, "loss"), get(phase[-1], "loss")
    if not (loss > ABOVE_CHANCE * _chance(phase[-1]) and loss > RISE * before):
        return ""
    return (
        f"the loss rises: {before:.2f} in the epoch before, {loss:.2f} now; {_chance_in_words(phase[-1], config)}. "
        f"{_smaller_steps(config)}."
    )


def _gradient_explosion(phase: Sequence[Epoch], config: Config) -> str:
    before, norm = _previous(phase, "gradient_norm"), get(phase[-1], "gradient_norm")
    if not norm > GROWTH * before:
        return ""
    return f"the gradient explodes: its norm was {before:.3g} an epoch ago and is {norm:.3g}. {_smaller_steps(config)}."


STATE: dict[str, Rule] = {
    "diverged": _diverged,
    "uniform_assignments": _uniform_assignments,
    "prototype_collapse": _prototype_collapse,
    "dimensional_collapse": _dimensional_collapse,
    "no_gradient": _no_gradient,
}
"""Rules on the newest epoch."""
TREND: dict[str, Rule] = {
    "plateau_at_chance": _plateau_at_chance,
    "loss_increase": _loss_increase,
    "gradient_explosion": _gradient_explosion,
}
"""Rules on the newest epoch compared with earlier ones."""
IMPLIES = {
    "uniform_assignments": ("prototype_collapse", "plateau_at_chance", "not_learning"),
    "prototype_collapse": ("plateau_at_chance",),
    "dimensional_collapse": ("plateau_at_chance",),
}
"""Kinds that a kind explains, and that are then not reported."""


def _stays_at_chance(phase: Sequence[Epoch], name: str, share: float, epochs: int = 1) -> bool:
    """Whether a statistic has stayed at this fraction of chance for ``epochs`` epochs and ``FEWEST_STEPS`` steps.

    Epochs with an unknown number of steps count as long enough.
    """
    steps = 0.0
    for n, epoch in enumerate(reversed(phase), 1):
        if not get(epoch, name) >= share * _chance(epoch):
            return False
        steps += get(epoch, "steps", missing=FEWEST_STEPS)
        if n >= epochs and steps >= FEWEST_STEPS:
            return True
    return False


def _effective_by_chance(prototypes: int, samples: float) -> float:
    """Effective fraction of K prototypes where each of N samples prefers one at random.

    The expected entropy of counts is about ln K - (K - 1) / 2 N (Miller, Note on the bias of information estimates,
    1955).
    """
    return math.exp(-(prototypes - 1) / (2 * samples)) if samples > 0 else math.nan


def get(epoch: Epoch, name: str, missing: float = math.nan) -> float:
    """Statistic of an epoch; NaN if not finite, ``missing`` if absent. Comparisons with NaN are false."""
    value = epoch.get(name, missing)
    return math.nan if value is None else float(value)


def _chance(epoch: Epoch) -> float:
    """Loss of a uniform prediction, which is also the entropy of a uniform assignment."""
    return get(epoch, "chance_loss", missing=get(epoch, "ln_k"))


def _chance_in_words(epoch: Epoch, config: Config) -> str:
    uniform = "ln K, uniform over prototypes" if _has_prototypes(config) else "uniform over candidates"
    return f"chance is {_chance(epoch):.3f}: {uniform}"


def _ways_to_learn(config: Config) -> str:
    rate = _setting(config, "optimizer.learning_rate")
    if not _has_prototypes(config):
        return f"Use another {rate} or raise {_setting(config, 'optimizer.warmup_epochs')}"
    fewer, sharper = _setting(config, "method.num_prototypes"), _setting(config, "method.sinkhorn_epsilon")
    return f"Use fewer {fewer}, a lower {sharper} or another {rate}, or raise {_stabilizers(config)}"


def _has_prototypes(config: Config) -> bool:
    return OBJECTIVES[config.method.objective].has_prototypes


def _previous(phase: Sequence[Epoch], name: str) -> float:
    return get(phase[-2], name) if len(phase) > 1 else math.nan


def _smaller_steps(config: Config) -> str:
    lower, raise_ = _setting(config, "optimizer.learning_rate"), _setting(config, "optimizer.warmup_epochs")
    return f"Lower {lower} or raise {raise_}, and start in another output folder"


def _stabilizers(config: Config) -> str:
    """Settings that stabilize the start of a phase, as far as the run uses them."""
    frozen = [_setting(config, "method.freeze_prototypes_epochs")] if _has_prototypes(config) else []
    queue = [_setting(config, "method.queue_start_epoch")] if config.method.queue_size else []
    *others, warmup = [*frozen, *queue, _setting(config, "optimizer.warmup_epochs")]
    return f"{', '.join(others)}, or {warmup}" if others else warmup


def _setting(config: Config, key: str) -> str:
    """Setting with its value in this run."""
    section, name = key.split(".")
    return f"{config.key_of(section, name)} (now {getattr(getattr(config, section), name):g})"
