"""Settings of a sweep: each declared once, with type, documentation and validation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from vicc_ray.config.base import RESUMABLE, ConfigSection, Count, CountOrZero, Positive
from vicc_ray.config.messages import explain
from vicc_ray.config.yaml import read_yaml
from vicc_ray.errors import UserError
from vicc_ray.utils.visible_text import OWN_BREAK

Objective = Literal["recall_at_1", "minutes"]
Number = int | float


class SearchedSetting(ConfigSection):
    """Search space of one setting: a range (low, high) or choices."""

    low: Number | None = None
    """Smallest value."""
    high: Number | None = None
    """Largest value."""
    log: bool = False
    """Whether the range is sampled on a logarithmic scale."""
    step: Number | None = None
    """Step between values of the range."""
    choices: Annotated[tuple[Any, ...], Field(min_length=1)] | None = None
    """List of values, instead of a range."""
    condition: dict[str, Any] = Field(default_factory=dict)
    """Conditions on other searched settings: a value, a list of values, or {above: NUMBER}. If one is false, the
    setting keeps the recipe's value."""

    @model_validator(mode="after")
    def _range_or_choice(self) -> SearchedSetting:
        bounds = (self.low, self.high)
        if self.choices is not None:
            if bounds != (None, None) or self.log or self.step is not None:
                raise ValueError("choices given together with a range; give {choices: [...]} or {low: 1, high: 9}")
        elif self.low is None or self.high is None:
            raise ValueError("give {choices: [...]}, or {low: 1, high: 9} optionally with log: true or a step")
        elif self.low >= self.high:
            raise ValueError(f"low: {self.low} given, which is not below high ({self.high})")
        if self.log and self.step is not None:
            raise ValueError("log and step given together; give one of them")
        if self.log and self.low is not None and self.low <= 0:
            raise ValueError(f"low: {self.low} given; with log: true it must be above 0")
        return self


class Budget(ConfigSection):
    """Limits of the search and of each trial."""

    trials: Count = 20
    """Number of trials, or of combinations if there are fewer."""
    hours: Positive | None = None
    """Hours of the search, summed over all calls. Then no trial starts, and running ones continue in
    the next call. null: no limit."""
    epochs: CountOrZero = 0
    """Epochs of stage 2 in each trial, for any alternation period; 0: those of the recipe's cycles."""


class Prune(ConfigSection):
    """Early stopping of trials that are worse than others."""

    method: Literal["asha", "hyperband", "none"] = "asha"
    """asha: asynchronous successive halving; hyperband: several brackets of it with different grace periods."""
    grace_period: Count = 5
    """Minimum epochs of stage 2 before a trial can be stopped."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """One in this many trials continues at each rung; rungs are this factor apart."""


class Resources(ConfigSection):
    """Resources of each trial."""

    cpus: Annotated[float, Field(ge=0.0)] = 0.0
    """Logical CPUs, for training and decoding together; 0: the cluster's, divided by max_concurrent_trials."""
    gpus: Annotated[float, Field(ge=0.0)] = 0.0
    """GPUs: a whole number, or a fraction of one; 0: as the recipe's workers and GPUs."""

    @model_validator(mode="after")
    def _whole_or_share(self) -> Resources:
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(f"gpus: {self.gpus:g} given; above 1 it must be a whole number, one worker for each")
        return self


class Final(ConfigSection):
    """Final evaluation of the best setting on the test videos, which the search does not use."""

    num_seeds: Annotated[int, Field(ge=0, le=1000)] = 3
    """Number of new seeds with which the best and the default setting are trained on all training videos; 0: none."""


class SweepConfig(ConfigSection):
    """Complete sweep.

    Settings marked ``RESUMABLE`` change no trial, so they may change between calls. Of the recipe, the contents count.
    """

    name: str = "sweep"
    """Name of the sweep, shown in reports."""
    recipe: Annotated[str, RESUMABLE] = "demo"
    """Recipe of the trials: a packaged one or a path."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Overrides of the recipe for all trials, as section.name: value."""
    search_space: dict[str, SearchedSetting] = Field(default_factory=dict)
    """Searched settings by section.name."""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    """tpe: Optuna's multivariate tree-structured Parzen estimator; grid: all combinations of choices and steps."""
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1, max_length=2)] = ("recall_at_1",)
    """recall_at_1 of validation videos, optionally with minutes: a multi-objective search of accuracy and training time
    without early stopping."""
    validation_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Fraction of each class's training sources used for validation instead of training."""
    seed: CountOrZero = 0
    """Seed of the sampler; trials use the recipe's seed."""
    max_concurrent_trials: Annotated[Count, RESUMABLE] = 1
    """Maximum number of concurrent trials."""
    budget: Annotated[Budget, RESUMABLE] = Budget()
    prune: Prune = Prune()
    resources_per_trial: Annotated[Resources, RESUMABLE] = Resources()
    final_eval: Annotated[Final, RESUMABLE] = Final()

    @model_validator(mode="after")
    def _searches_something(self) -> SweepConfig:
        if not self.search_space:
            raise ValueError(
                "search_space: nothing given; give at least one setting, as in {stage2.sinkhorn_epsilon: {low: "
                "0.02, high: 0.2}}"
            )
        if "recall_at_1" not in self.objectives or len(set(self.objectives)) != len(self.objectives):
            raise ValueError("objectives: give [recall_at_1] or [recall_at_1, minutes]")
        return self

    @property
    def prunes(self) -> bool:
        """Whether trials may be stopped early."""
        return self.prune.method != "none" and len(self.objectives) == 1


def load_sweep(path: Path) -> SweepConfig:
    """Settings of a sweep from its YAML file.

    Raises:
        UserError: no such file, invalid YAML, a duplicate key, an unknown setting or an invalid value.
            :class:`vicc_ray.sweep.space.Space` checks the searched settings against the recipe.
    """
    try:
        content = read_yaml(path, str(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read as a sweep: {error.strerror}; examples are in sweeps/") from error
    if not isinstance(content, dict):
        keys = ", ".join(SweepConfig.model_fields)
        raise UserError(f"{path}: {type(content).__name__} given; a sweep is a mapping of {keys}")
    try:
        return SweepConfig.model_validate_json(json.dumps(content, default=str), strict=True)
    except ValidationError as error:
        raise UserError(f"{path}: {_format_error(error)}") from error


def _format_error(error: ValidationError) -> str:
    """Error message as for a recipe; a problem inside a searched setting is reported under its name."""
    inside = [
        problem for problem in error.errors() if problem["loc"][:1] == ("search_space",) and len(problem["loc"]) > 1
    ]
    if not inside:
        return explain(error, SweepConfig)
    return OWN_BREAK.join(dict.fromkeys(_format_searched(problem) for problem in inside))


def _format_searched(problem: Any) -> str:
    key, *rest = map(str, problem["loc"][1:])
    if problem["type"] == "value_error":
        return f"search_space.{key}: {problem['ctx']['error']}"
    return (
        f"search_space.{key}: {'.'.join(rest)}: {problem['msg']} (allowed: {', '.join(SearchedSetting.model_fields)})"
    )
