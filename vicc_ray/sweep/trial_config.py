"""The settings of each trial, of the default and of the final runs, from a sweep and its recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from vicc_ray.config import Config
from vicc_ray.config.loader import config_of, load_config
from vicc_ray.config.messages import setting_names, unknown_setting
from vicc_ray.config.yaml import format_value
from vicc_ray.errors import UserError
from vicc_ray.runs.schedule import build_phases
from vicc_ray.sweep.config import SweepConfig
from vicc_ray.sweep.space import Space, Values
from vicc_ray.training.workload import check_batches

FINAL_SEED_OFFSET = 1000
"""Added to the recipe's seed for the final runs, so that they use seeds that no trial had."""
TRIALS_SHARE = 0.98
"""Share of the cluster's CPUs for training and decoding; the rest is for the processes that supervise trials. A
decoding task that requests even slightly more than exists would never be scheduled."""


def _own_settings(settings: SweepConfig) -> dict[str, str]:
    """Settings that a sweep sets in every trial, with what to do instead of overriding or searching them."""
    own = {
        "name": "its name is the key name",
        "ray.share": "give max_concurrent_trials",
        "train.trackers": "trials are shown in the sweep's own table",
        "train.validation_fraction": "give validation_fraction",
    }
    if settings.resources_per_trial.gpus:
        own |= dict.fromkeys(
            ("train.num_workers", "train.gpus_per_worker", "train.use_gpu"), "leave resources_per_trial.gpus out"
        )
    if settings.resources_per_trial.cpus:
        own["train.cpus_per_worker"] = "leave resources_per_trial.cpus out"
    if settings.budget.epochs:
        own |= dict.fromkeys(("schedule.stage2_max_epochs", "schedule.cycles"), "leave budget.epochs out")
    return own


class Sweep:
    """A sweep with its recipe: turns values of the searched settings into a run's configuration.

    Raises:
        UserError: recipe, fixed or searched settings cannot be.
    """

    def __init__(self, settings: SweepConfig) -> None:
        self.settings = settings
        for key in settings.overrides:
            if key not in setting_names():
                raise UserError(f"overrides.{unknown_setting(key)}")
        own = _own_settings(settings)
        for part, given in (("overrides", settings.overrides), ("search_space", settings.search_space)):
            for key in sorted(own.keys() & given.keys()):
                raise UserError(f"{part}.{key}: a sweep sets this itself; {own[key]}")
        twice = sorted(set(settings.overrides) & set(settings.search_space))
        if twice:
            raise UserError(f"search_space.{twice[0]}: it is fixed too; give it in one of them")
        self.base = load_config(settings.recipe, _overrides(settings.overrides))
        self.space = Space(settings.search_space, self.trial)
        self.trial({})

    def trial(self, values: Mapping[str, Any], name: str = "trial") -> Config:
        """The settings of a trial.

        Raises:
            UserError: together with the recipe they cannot be.
        """
        own = {
            "name": name,
            "train.validation_fraction": self.settings.validation_fraction,
            "train.trackers": [],
            "ray.share": self._share(),
            **self._workers(),
        }
        return self._checked({**own, **values})

    def final_run(self, values: Mapping[str, Any], name: str, seed: int) -> Config:
        """The settings of a final run: all training videos, a new seed, no validation during training."""
        seed += FINAL_SEED_OFFSET + self.base.seed
        own = {"name": name, "seed": seed, "train.trackers": [], "ray.share": self._share(), **self._workers()}
        config = self._checked({**own, **values})
        return config.model_copy(update={"train": config.train.model_copy(update={"validate_every_epochs": 0})})

    @cached_property
    def default(self) -> Values | None:
        """The recipe's values of the searched settings; None if they are not a point of the search space."""
        in_force = self.base.of_stage(2)
        values = {}
        for parameter in self.space.parameters:
            section, _, name = parameter.key.rpartition(".")
            value = getattr(getattr(in_force, section) if section else in_force, name)
            if value is None:  # of stage 2: what holds for both stages
                parts = (in_force.method, in_force.optimizer, in_force.train)
                value = next(getattr(part, name) for part in parts if hasattr(part, name))
            values[parameter.key] = value
        return self.space.to_optuna(values)

    @cached_property
    def total(self) -> int:
        """Trials of the search: all points of a grid; of another search no more than there are points.

        Raises:
            UserError: a grid of a range without a step.
        """
        if self.settings.sampler == "grid":
            return len(self.space.grid)
        trials, points = self.settings.budget.trials, self.space.points
        return trials if points is None else min(trials, len(points))

    def _share(self) -> float:
        return TRIALS_SHARE / self.settings.max_concurrent_trials

    def _workers(self) -> dict[str, Any]:
        gpus, cpus = self.settings.resources_per_trial.gpus, self.settings.resources_per_trial.cpus
        workers = max(1, int(gpus))
        found: dict[str, Any] = {}
        if gpus:
            found |= {"train.num_workers": workers, "train.gpus_per_worker": min(1.0, gpus), "train.use_gpu": "yes"}
        if cpus:  # half of them decode
            found["train.cpus_per_worker"] = cpus / 2 / (workers if gpus else self.base.train.num_workers.max)
        return found

    def _checked(self, changed: dict[str, Any]) -> Config:
        config = self._config(changed)
        if epochs := self.settings.budget.epochs:
            period = config.schedule.epochs_per_phase
            length = {"schedule.stage2_max_epochs": epochs, "schedule.cycles": -(-epochs // (2 * period))}
            config = self._config({**changed, **length})
        if not config.train.validate_every_epochs:
            raise UserError(
                "train.validate_every_epochs: 0 given; trials are scored by these checks, so set it to 1 or more"
            )
        build_phases(config.schedule)
        check_batches(config)
        return config

    def _config(self, changed: Mapping[str, Any]) -> Config:
        settings = json.loads(self.base.model_dump_json())
        return config_of(settings, self.settings.recipe, _overrides(changed))


def _overrides(values: Mapping[str, Any]) -> list[str]:
    return [f"{key}={format_value(value)}" for key, value in values.items()]
