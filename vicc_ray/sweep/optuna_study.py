"""The Optuna study of a sweep: one journal file, which optuna-dashboard opens, holds the whole state of the search.

The ask-and-tell interface makes a sweep resumable from that file alone: finished trials stay finished, and trials that
were suggested but not finished are started again.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from vicc_ray.errors import UserError
from vicc_ray.sweep.space import Values
from vicc_ray.sweep.trial import State
from vicc_ray.sweep.trial_config import Sweep

VALUES = "values"
"""User attribute of a trial: its values of the searched settings, as in a recipe."""
REASON = "reason"
STATES: dict[State, TrialState] = {
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
STARTUP_SHARE = 0.4
"""Share of the trials that are random before TPE has enough observations; ten at most."""

DAMAGE = (ValueError, LookupError, TypeError, AttributeError, AssertionError, ArithmeticError, RecursionError)
"""What Optuna raises for a damaged line of its journal."""
DRAWS = 20
"""Attempts to draw untried values, before the first untried point is taken instead."""


@dataclass(frozen=True)
class Suggestion:
    """A trial to make."""

    number: int
    values: Values


class SweepStudy:
    """The study in ``file``, which is created if it does not exist. Only one process may use it at a time."""

    def __init__(self, file: Path, sweep: Sweep) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._sweep, self._settings = sweep, sweep.settings
        _repair(file)
        several = len(self._settings.objectives) > 1
        directions = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE][: 2 if several else 1]
        with _journal_errors(file):
            self._storage = JournalStorage(JournalFileBackend(str(file)))
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=self._settings.name,
                directions=directions,
                sampler=RandomSampler(),  # unused: values are chosen before the study creates a trial
                pruner=self._pruner(),
                load_if_exists=True,
            )
            if self._study.directions != directions:
                raise ValueError("its objectives differ")
            for trial in self._study.get_trials(deepcopy=False):
                self._check(trial)

    def _check(self, trial: FrozenTrial) -> None:
        """Check that a trial belongs to this search space: Optuna accepts whatever its journal contains.

        Raises:
            ValueError: it does not.
        """
        named = f"trial {trial.number}"
        keys = {parameter.key for parameter in self._sweep.space.parameters}
        if not keys.issuperset(trial.params):
            raise ValueError(f"{named} tries settings that are not searched")
        values = trial.user_attrs.get(VALUES)
        if VALUES in trial.user_attrs and not (isinstance(values, dict) and self._sweep.space.holds(values)):
            raise ValueError(f"{named} tries values that are not searched")
        scores = [*(trial.values or ()), *trial.intermediate_values.values()]
        if not all(type(score) in (int, float) for score in scores):
            raise ValueError(f"{named} has scores that are no numbers")
        if trial.values is not None and len(trial.values) != len(self._settings.objectives):
            raise ValueError(f"{named} has {len(trial.values)} scores")
        if not all(type(epoch) is int for epoch in trial.intermediate_values):
            raise ValueError(f"{named} was scored after epochs that are no numbers")

    @property
    def trials(self) -> list[FrozenTrial]:
        """All suggested trials, in order."""
        return [trial for trial in self._study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]

    def unfinished(self) -> list[Suggestion]:
        """Suggested trials that have not finished."""
        running = [trial for trial in self.trials if trial.state == TrialState.RUNNING]
        return [Suggestion(trial.number, trial.user_attrs[VALUES]) for trial in running if VALUES in trial.user_attrs]

    def ask(self) -> Suggestion:
        """Suggest the next trial. Its values are untried if any are left, since training is deterministic.

        The suggestion depends on (seed, number) and on finished trials, not on earlier calls.
        """
        number = len(self.trials)
        fixed = self._fixed_values(number)
        self._study.enqueue_trial(self._sampled_values(number) if fixed is None else fixed, skip_if_exists=True)
        trial = self._study.ask()
        values = self._sweep.space.sample(trial)
        trial.set_user_attr(VALUES, values)
        return Suggestion(trial.number, values)

    def report(self, number: int, epoch: int, recall_at_1: float) -> bool:
        """Record an intermediate score; returns whether to prune the trial."""
        if len(self._settings.objectives) > 1:
            return False
        frozen = self._study.get_trials(deepcopy=False)[number]
        if frozen.state != TrialState.RUNNING or epoch in frozen.intermediate_values:
            return False
        trial = self._trial(number)
        trial.report(recall_at_1, epoch)
        return bool(trial.should_prune())

    def tell(self, number: int, state: State, recall_at_1: float | None, minutes: float, reason: str = "") -> None:
        """Record the outcome of a trial; does nothing for a finished one."""
        frozen = self._study.get_trials(deepcopy=False)[number]
        if frozen.state.is_finished():
            return
        trial = self._trial(number)
        trial.set_user_attr(REASON, reason)
        trial.set_user_attr("minutes", minutes)
        if state == "failed" or recall_at_1 is None or not math.isfinite(recall_at_1):
            self._study.tell(number, state=TrialState.FAIL)
            return
        by_objective = {"recall_at_1": recall_at_1, "minutes": minutes}
        values = [by_objective[name] for name in self._settings.objectives]
        if state == "pruned":
            self._study.tell(number, state=TrialState.PRUNED)
        else:
            self._study.tell(number, values if len(values) > 1 else values[0])

    def _trial(self, number: int) -> optuna.trial.Trial:
        """The running trial of this number, also one that an earlier process has asked for."""
        study = self._storage.get_study_id_from_name(self._study.study_name)
        return optuna.trial.Trial(self._study, self._storage.get_trial_id_from_study_id_trial_number(study, number))

    def ended(self, number: int) -> bool:
        """Whether the trial has finished."""
        return self._study.get_trials(deepcopy=False)[number].state.is_finished()

    def importances(self) -> Mapping[str, float]:
        """Importance of each searched setting for R@1, by fANOVA over complete trials; empty if there are too few."""
        complete = [trial for trial in self.trials if trial.state == TrialState.COMPLETE]
        if len(complete) < 4 or len({trial.values[0] for trial in complete}) < 2:
            return {}
        first = (lambda trial: -trial.values[0]) if len(self._settings.objectives) > 1 else None  # lower is better
        importances: Mapping[str, float] = optuna.importance.get_param_importances(self._study, target=first)
        return importances

    def _fixed_values(self, number: int) -> Values | None:
        """Fixed values of a trial: the next grid point, or the recipe's default for the first trial; else None."""
        if self._settings.sampler == "grid":
            return self._sweep.space.to_optuna(self._sweep.space.grid[number])
        return self._sweep.default if number == 0 else None

    def _sampled_values(self, number: int) -> Values:
        """Values sampled in a copy of the study, in which a rejected draw counts as a running trial that TPE avoids."""
        tried = {_key(trial.params) for trial in self.trials}
        copy = optuna.create_study(directions=self._study.directions, sampler=self._sampler(number))
        copy.add_trials(self.trials)
        for _ in range(DRAWS):
            trial = copy.ask()
            self._sweep.space.sample(trial)
            if _key(trial.params) not in tried:
                return trial.params
        points = map(self._sweep.space.to_optuna, self._sweep.space.points or ())
        return next((point for point in points if point is not None and _key(point) not in tried), trial.params)

    def _sampler(self, number: int) -> BaseSampler:
        seed = int(np.random.SeedSequence([self._settings.seed, number]).generate_state(1)[0])
        if self._settings.sampler == "random":
            return RandomSampler(seed=seed)
        startup = min(10, max(2, round(STARTUP_SHARE * self._settings.budget.trials)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # for group, which conditions need
            return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=startup)

    def _pruner(self) -> BasePruner:
        prune = self._settings.prune
        if not self._settings.prunes:
            return NopPruner()
        if prune.method == "asha":
            return SuccessiveHalvingPruner(min_resource=prune.grace_period, reduction_factor=prune.reduction_factor)
        return HyperbandPruner(min_resource=prune.grace_period, reduction_factor=prune.reduction_factor)


def _key(values: Values) -> frozenset[tuple[str, Any]]:
    """A key that is equal for values that differ only by rounding."""
    return frozenset((key, f"{value:.12g}" if isinstance(value, float) else value) for key, value in values.items())


@contextmanager
def _journal_errors(file: Path) -> Iterator[None]:
    """Turn any error that Optuna raises for a damaged journal into a UserError."""
    try:
        yield
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{file} is damaged or belongs to another sweep ({reason}); give another folder (--out)"
        ) from None


def _repair(file: Path) -> None:
    """Remove what a killed process may have left: an incomplete last line, and the lock.

    Raises:
        UserError: the path is a link, which may lead anywhere, or not a regular file.
    """
    file.with_name(f"{file.name}.lock").unlink(missing_ok=True)
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise UserError(f"{file} is a link or not a file; give another folder (--out)")
    if not file.exists():
        return
    content = file.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with file.open("r+b") as opened:
            opened.truncate(whole)
