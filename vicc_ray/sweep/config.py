"""Every setting of a sweep: declared once, typed, documented, validated, as those of a recipe are."""

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
    """Values that a setting may take: a range (low, high) or a choice."""

    low: Number | None = None
    """Smallest value."""
    high: Number | None = None
    """Largest value."""
    log: bool = False
    """Whether the range is searched by factors rather than by differences."""
    step: Number | None = None
    """Distance between neighbouring values of the range."""
    choices: Annotated[tuple[Any, ...], Field(min_length=1)] | None = None
    """The values one by one, in the place of a range."""
    condition: dict[str, Any] = Field(default_factory=dict)
    """Conditions, all of which must hold for the setting to be searched; otherwise it is as in the recipe. A searched
    setting: its value, a list of its values, or {above: NUMBER}."""

    @model_validator(mode="after")
    def _range_or_choice(self) -> SearchedSetting:
        bounds = (self.low, self.high)
        if self.choices is not None:
            if bounds != (None, None) or self.log or self.step is not None:
                raise ValueError("choices given together with a range; give {choices: [...]} or {low: 1, high: 9}")
        elif self.low is None or self.high is None:
            raise ValueError("give {choices: [...]}, or {low: 1, high: 9} with log: true or a step if you like")
        elif self.low >= self.high:
            raise ValueError(f"low: {self.low} given, which is not below high ({self.high})")
        if self.log and self.step is not None:
            raise ValueError("log and step given together; give one of them")
        if self.log and self.low is not None and self.low <= 0:
            raise ValueError(f"low: {self.low} given; with log: true it must be above 0")
        return self


class Budget(ConfigSection):
    """When the search ends, and how long a trial may be."""

    trials: Count = 20
    """Trials of the search; where there are fewer combinations, as many as there are."""
    hours: Positive | None = None
    """Hours of the search, all its calls together, after which no trial is begun and running ones are kept for the
    next call; null: no limit."""
    epochs: CountOrZero = 0
    """Epochs of stage 2 in each trial, whatever its alternation; 0: as the recipe's cycles have."""


class Prune(ConfigSection):
    """When a trial that is worse than others ends early."""

    method: Literal["asha", "hyperband", "none"] = "asha"
    """asha: successive halving without waiting; hyperband: several of them that begin at different epochs."""
    grace_period: Count = 5
    """Epochs of stage 2 after which a trial may end for the first time."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """Of so many trials one goes on, and next so many times later."""


class Resources(ConfigSection):
    """What a trial may use."""

    cpus: Annotated[float, Field(ge=0.0)] = 0.0
    """Logical CPUs, for training and decoding together; 0: the cluster's, divided by max_concurrent_trials."""
    gpus: Annotated[float, Field(ge=0.0)] = 0.0
    """GPUs: a whole number, or a share of one; 0: what the recipe says of workers and GPUs holds."""

    @model_validator(mode="after")
    def _whole_or_share(self) -> Resources:
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(f"gpus: {self.gpus:g} given; above 1 it must be a whole number, one worker for each")
        return self


class Final(ConfigSection):
    """How what was found is judged at the end, on the test videos, which the search has not seen."""

    num_seeds: Annotated[int, Field(ge=0, le=1000)] = 3
    """Fresh seeds with which the best setting and the default one are trained on all training videos; 0: not at all."""


class SweepConfig(ConfigSection):
    """A whole sweep.

    What is marked ``RESUMABLE`` changes no trial; of the recipe, the contents are compared.
    """

    name: str = "sweep"
    """Its name, shown in reports."""
    recipe: Annotated[str, RESUMABLE] = "demo"
    """The recipe that trials are based on: a packaged one or a path."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Settings that all trials have otherwise than the recipe, as section.name: value."""
    search_space: dict[str, SearchedSetting] = Field(default_factory=dict)
    """What is searched, by section.name."""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    """tpe: Optuna's multivariate tree of Parzen estimators; grid: every combination of choices and steps."""
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1, max_length=2)] = ("recall_at_1",)
    """recall_at_1 of held-out videos; with minutes beside it, the trade-off with training time is searched, and no
    trial ends early."""
    validation_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Share of each class's training sources that trials are scored on instead of being trained on."""
    seed: CountOrZero = 0
    """Seed of the search; that of the trials is the recipe's."""
    max_concurrent_trials: Annotated[Count, RESUMABLE] = 1
    """Trials at the same time."""
    budget: Annotated[Budget, RESUMABLE] = Budget()
    prune: Prune = Prune()
    resources_per_trial: Annotated[Resources, RESUMABLE] = Resources()
    final_eval: Annotated[Final, RESUMABLE] = Final()

    @model_validator(mode="after")
    def _searches_something(self) -> SweepConfig:
        if not self.search_space:
            raise ValueError(
                "search_space: nothing given; name at least one setting, as in {stage2.sinkhorn_epsilon: {low: "
                "0.02, high: 0.2}}"
            )
        if "recall_at_1" not in self.objectives or len(set(self.objectives)) != len(self.objectives):
            raise ValueError("objectives: give [recall_at_1] or [recall_at_1, minutes]")
        return self

    @property
    def prunes(self) -> bool:
        """Whether trials may end early."""
        return self.prune.method != "none" and len(self.objectives) == 1


def load_sweep(path: Path) -> SweepConfig:
    """A sweep from its YAML file.

    Raises:
        UserError: no such file, not YAML, a key given twice, or a setting that does not exist or whose value is not
            allowed. Whether searched settings fit the recipe is for :class:`vicc_ray.sweep.space.Space` to say.
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
        raise UserError(f"{path}: {_told(error)}") from error


def _told(error: ValidationError) -> str:
    """As of a recipe; what is wrong inside a searched setting is told under that setting's name."""
    inside = [
        problem for problem in error.errors() if problem["loc"][:1] == ("search_space",) and len(problem["loc"]) > 1
    ]
    if not inside:
        return explain(error, SweepConfig)
    return OWN_BREAK.join(dict.fromkeys(_of_searched(problem) for problem in inside))


def _of_searched(problem: Any) -> str:
    key, *rest = map(str, problem["loc"][1:])
    if problem["type"] == "value_error":
        return f"search_space.{key}: {problem['ctx']['error']}"
    return (
        f"search_space.{key}: {'.'.join(rest)}: {problem['msg']} (allowed: {', '.join(SearchedSetting.model_fields)})"
    )
