"""The Optuna study of a sweep, in one file that optuna-dashboard opens; nothing of the search is kept anywhere else.

Trials are asked for and told one by one, so that a sweep whose driver is killed goes on from the file alone: what was
told stays told, and what was asked and not told is still running and is begun again.
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
"""Attribute of a trial: the settings that it tries, as they stand in a recipe."""
REASON = "reason"
STATES: dict[State, TrialState] = {
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
STARTUP_SHARE = 0.4
"""Share of the trials that is drawn at random before TPE has enough to go by; ten at the most."""

DAMAGE = (ValueError, LookupError, TypeError, AttributeError, AssertionError, ArithmeticError, RecursionError)
"""What Optuna raises where a line of its journal is not as it wrote it."""
DRAWS = 20
"""Of values that were tried before, until an untried point is taken as it comes."""


@dataclass(frozen=True)
class Suggestion:
    """A trial to make."""

    number: int
    values: Values


class SweepStudy:
    """The study in ``file``, which is made if it is not there. One process at a time may hold it."""

    def __init__(self, file: Path, sweep: Sweep) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._sweep, self._settings = sweep, sweep.settings
        _mend(file)
        several = len(self._settings.objectives) > 1
        directions = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE][: 2 if several else 1]
        with _naming_damage(file):
            self._storage = JournalStorage(JournalFileBackend(str(file)))
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=self._settings.name,
                directions=directions,
                sampler=RandomSampler(),  # unused: what a trial tries is known before the study makes it
                pruner=self._pruner(),
                load_if_exists=True,
            )
            if self._study.directions != directions:
                raise ValueError("its objectives are other ones")
            for trial in self._study.get_trials(deepcopy=False):
                self._check(trial)

    def _check(self, trial: FrozenTrial) -> None:
        """See that a trial is one of this sweep: Optuna takes what a journal says, whoever wrote it.

        Raises:
            ValueError: it is not.
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
        """All that were asked for, in their order."""
        return [trial for trial in self._study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]

    def unfinished(self) -> list[Suggestion]:
        """What was asked and not told."""
        running = [trial for trial in self.trials if trial.state == TrialState.RUNNING]
        return [Suggestion(trial.number, trial.user_attrs[VALUES]) for trial in running if VALUES in trial.user_attrs]

    def ask(self) -> Suggestion:
        """The next trial, of values that none has tried, as long as there are such (a trial made twice ends the same).

        What is drawn depends on (seed, number) and on what was told, not on earlier calls.
        """
        number = len(self.trials)
        given = self._given(number)
        self._study.enqueue_trial(self._drawn(number) if given is None else given, skip_if_exists=True)
        trial = self._study.ask()
        values = self._sweep.space.sample(trial)
        trial.set_user_attr(VALUES, values)
        return Suggestion(trial.number, values)

    def report(self, number: int, epoch: int, recall_at_1: float) -> bool:
        """Note a score during a trial; whether the trial is to end."""
        if len(self._settings.objectives) > 1:
            return False
        frozen = self._study.get_trials(deepcopy=False)[number]
        if frozen.state != TrialState.RUNNING or epoch in frozen.intermediate_values:
            return False
        trial = self._trial(number)
        trial.report(recall_at_1, epoch)
        return bool(trial.should_prune())

    def tell(self, number: int, state: State, recall_at_1: float | None, minutes: float, reason: str = "") -> None:
        """What became of a trial; of one that has been told nothing changes."""
        frozen = self._study.get_trials(deepcopy=False)[number]
        if frozen.state.is_finished():
            return
        trial = self._trial(number)
        trial.set_user_attr(REASON, reason)
        trial.set_user_attr("minutes", minutes)
        if state == "failed" or recall_at_1 is None or not math.isfinite(recall_at_1):
            self._study.tell(number, state=TrialState.FAIL)
            return
        found = {"recall_at_1": recall_at_1, "minutes": minutes}
        values = [found[name] for name in self._settings.objectives]
        if state == "pruned":
            self._study.tell(number, state=TrialState.PRUNED)
        else:
            self._study.tell(number, values if len(values) > 1 else values[0])

    def _trial(self, number: int) -> optuna.trial.Trial:
        """The running trial of this number, also one that an earlier process has asked for."""
        study = self._storage.get_study_id_from_name(self._study.study_name)
        return optuna.trial.Trial(self._study, self._storage.get_trial_id_from_study_id_trial_number(study, number))

    def ended(self, number: int) -> bool:
        """Whether the trial has been told."""
        return self._study.get_trials(deepcopy=False)[number].state.is_finished()

    def importances(self) -> Mapping[str, float]:
        """Share of each searched setting in how R@1 differs between complete trials; empty where there are too few."""
        complete = [trial for trial in self.trials if trial.state == TrialState.COMPLETE]
        if len(complete) < 4 or len({trial.values[0] for trial in complete}) < 2:
            return {}
        first = (lambda trial: -trial.values[0]) if len(self._settings.objectives) > 1 else None  # lower is better
        found: Mapping[str, float] = optuna.importance.get_param_importances(self._study, target=first)
        return found

    def _given(self, number: int) -> Values | None:
        """What the trial has to try: of a grid the next point, else first of all the recipe's own setting."""
        if self._settings.sampler == "grid":
            return self._sweep.space.as_asked(self._sweep.space.grid[number])
        return self._sweep.default if number == 0 else None

    def _drawn(self, number: int) -> Values:
        """Drawn in a copy of the study, which takes a draw that is thrown away for a trial that runs: TPE shuns it."""
        tried = {_key(trial.params) for trial in self.trials}
        copy = optuna.create_study(directions=self._study.directions, sampler=self._sampler(number))
        copy.add_trials(self.trials)
        for _ in range(DRAWS):
            trial = copy.ask()
            self._sweep.space.sample(trial)
            if _key(trial.params) not in tried:
                return trial.params
        points = map(self._sweep.space.as_asked, self._sweep.space.points or ())
        return next((point for point in points if point is not None and _key(point) not in tried), trial.params)

    def _sampler(self, number: int) -> BaseSampler:
        seed = int(np.random.SeedSequence([self._settings.seed, number]).generate_state(1)[0])
        if self._settings.sampler == "random":
            return RandomSampler(seed=seed)
        startup = min(10, max(2, round(STARTUP_SHARE * self._settings.budget.trials)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of group: conditions need it
            return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=startup)

    def _pruner(self) -> BasePruner:
        prune = self._settings.prune
        if not self._settings.prunes:
            return NopPruner()
        if prune.method == "asha":
            return SuccessiveHalvingPruner(min_resource=prune.grace_period, reduction_factor=prune.reduction_factor)
        return HyperbandPruner(min_resource=prune.grace_period, reduction_factor=prune.reduction_factor)


def _key(values: Values) -> frozenset[tuple[str, Any]]:
    """The same for values that differ by rounding."""
    return frozenset((key, f"{value:.12g}" if isinstance(value, float) else value) for key, value in values.items())


@contextmanager
def _naming_damage(file: Path) -> Iterator[None]:
    """Whatever Optuna says of a journal that is none, as a UserError."""
    try:
        yield
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{file} is damaged, or of another sweep ({reason}); give another folder (--out)") from None


def _mend(file: Path) -> None:
    """Take away what a process that was killed may have left: a line that is not whole, and its lock.

    Raises:
        UserError: the file is a link, which may lead to any file, or no file.
    """
    file.with_name(f"{file.name}.lock").unlink(missing_ok=True)
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise UserError(f"{file} is a link, or no file; give another folder (--out)")
    if not file.exists():
        return
    content = file.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with file.open("r+b") as opened:
            opened.truncate(whole)
