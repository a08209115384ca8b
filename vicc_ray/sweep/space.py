"""The search space: values and conditions of each searched setting, checked against the configuration.

Every setting of a recipe can be searched under its key, section.name. A new setting needs no change here: its type and
limits are declared once, in vicc_ray/config. Settings that a sweep sets itself are listed in trial_config.py.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from optuna.trial import BaseTrial

from vicc_ray.config.messages import schema_of, setting_names, suggest, unknown_setting
from vicc_ray.config.yaml import format_value
from vicc_ray.errors import UserError
from vicc_ray.sweep.config import SearchedSetting

Values = dict[str, Any]
"""Values by setting, for the searched settings whose conditions hold."""
MAX_POINTS = 1000
MAX_COMBINATIONS = 10_000
"""Combinations that a grid may have."""


@dataclass(frozen=True)
class Parameter:
    """One searched setting."""

    key: str
    given: SearchedSetting

    @property
    def whole(self) -> bool:
        """Whether only integers are allowed."""
        return "integer" in _types(self.key)

    def suggest(self, trial: BaseTrial) -> Any:
        """Ask Optuna for a value."""
        low, high, step = self.given.low, self.given.high, self.given.step
        if self.given.choices is not None:
            return self._of_choice(trial.suggest_categorical(self.key, [_plain(value) for value in self.given.choices]))
        assert low is not None and high is not None
        if self.whole:
            return trial.suggest_int(self.key, int(low), int(high), step=int(step or 1), log=self.given.log)
        return trial.suggest_float(self.key, low, high, step=step, log=self.given.log)

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether all conditions hold, given the values of the settings before it."""
        return all(key in values and _holds(wanted, values[key]) for key, wanted in self.given.condition.items())

    @property
    def extremes(self) -> list[Any]:
        """All choices, or both ends of the range."""
        return list(self.given.choices) if self.given.choices is not None else [self.given.low, self.given.high]

    @property
    def grid(self) -> list[Any]:
        """All values.

        Raises:
            UserError: it is a range without a step.
        """
        if self.given.choices is not None:
            return list(self.given.choices)
        low, high, step = self.given.low, self.given.high, self.given.step
        if step is None:
            raise UserError(
                f"search_space.{self.key}: a range without step given; sampler grid needs a choice or a step"
            )
        assert low is not None and high is not None
        if (high - low) / step > MAX_COMBINATIONS:
            raise _too_many()
        return [low + n * step for n in range(int((high - low) / step + 1e-9) + 1)]

    @property
    def size(self) -> float:
        """How many values there are."""
        low, high, step = self.given.low, self.given.high, self.given.step
        if self.given.choices is not None:
            return len(self.given.choices)
        return math.inf if step is None or low is None or high is None else (high - low) / step + 1

    def holds(self, value: Any) -> bool:
        """Whether ``value`` is in the range or among the choices."""
        if self.given.choices is not None:
            return value in self.given.choices
        low, high, step = self.given.low, self.given.high, self.given.step
        if not isinstance(value, int | float) or isinstance(value, bool) or low is None or high is None:
            return False
        on_step = step is None or abs((value - low) / step - round((value - low) / step)) < 1e-9
        return low <= value <= high and on_step

    def to_optuna(self, value: Any) -> Any:
        """A value in Optuna's representation."""
        return _plain(value) if self.given.choices is not None else value

    def _of_choice(self, plain: Any) -> Any:
        assert self.given.choices is not None
        return next(value for value in self.given.choices if _same(_plain(value), plain))


class Space:
    """All searched settings, ordered so that conditions refer only to earlier ones.

    Args:
        searched: settings by key.
        check: raises UserError for values that do not form a valid recipe.

    Raises:
        UserError: a setting does not exist, a value is not allowed, or a condition names one that is not searched.
    """

    def __init__(self, searched: Mapping[str, SearchedSetting], check: Callable[[Values], object]) -> None:
        self.parameters = _ordered([_checked(Parameter(key, given)) for key, given in searched.items()])
        for parameter in self.parameters:
            for value in parameter.extremes:
                try:
                    check({parameter.key: value})
                except UserError as error:
                    raise UserError(
                        f"search_space.{parameter.key}: {format_value(value)} cannot be: {error}"
                    ) from error

    def sample(self, trial: BaseTrial) -> Values:
        """Sample a value of each setting whose conditions hold."""
        values: Values = {}
        for parameter in self.parameters:
            if parameter.applies(values):
                values[parameter.key] = parameter.suggest(trial)
        return values

    @cached_property
    def grid(self) -> list[Values]:
        """Every combination, once.

        Raises:
            UserError: a range has no step, or there are more than :data:`MAX_COMBINATIONS`.
        """
        points: list[Values] = []
        if math.prod(len(parameter.grid) for parameter in self.parameters) > MAX_COMBINATIONS:
            raise _too_many()
        for combination in itertools.product(*(parameter.grid for parameter in self.parameters)):
            values: Values = {}
            for parameter, value in zip(self.parameters, combination, strict=True):
                if parameter.applies(values):
                    values[parameter.key] = value
            if values not in points:
                points.append(values)
        return points

    @cached_property
    def points(self) -> list[Values] | None:
        """Every combination, once; None if there are infinitely many or more than :data:`MAX_POINTS`."""
        return self.grid if math.prod(p.size for p in self.parameters) <= MAX_POINTS else None

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether ``values`` are a point of the space: allowed values of exactly the settings whose conditions hold."""
        wanted = [parameter for parameter in self.parameters if parameter.applies(values)]
        known = {parameter.key for parameter in wanted} == set(values)
        return known and all(parameter.holds(values[parameter.key]) for parameter in wanted)

    def to_optuna(self, values: Mapping[str, Any]) -> Values | None:
        """Values in Optuna's representation, for enqueueing; None if they are not a point of the space."""
        point: Values = {}
        for parameter in self.parameters:
            if parameter.applies(values):
                if not parameter.holds(values[parameter.key]):
                    return None
                point[parameter.key] = parameter.to_optuna(values[parameter.key])
        return point


def _too_many() -> UserError:
    return UserError(
        f"search: a grid of more than {MAX_COMBINATIONS:,} combinations; take larger steps, or another sampler"
    )


def _checked(parameter: Parameter) -> Parameter:
    key, given = parameter.key, parameter.given
    if key not in setting_names():
        raise UserError(f"search_space.{unknown_setting(key)}")
    if given.choices is None and not _types(key) & {"integer", "number"}:
        raise UserError(f"search_space.{key}: a range given, but it is no number; give {{choices: [...]}}")
    for other, wanted in given.condition.items():
        if isinstance(wanted, dict) and not (set(wanted) == {"above"} and isinstance(wanted["above"], int | float)):
            raise UserError(
                f"search_space.{key}: condition: {other}: {format_value(wanted)} given; give a value, a list of "
                "values or {above: NUMBER}"
            )
    if parameter.whole and given.choices is None:
        for name in ("low", "high", "step"):
            value = getattr(given, name)
            if isinstance(value, float) and value != int(value):
                raise UserError(f"search_space.{key}: {name}: {value:g} given; it must be a whole number")
    return parameter


def _ordered(parameters: list[Parameter]) -> list[Parameter]:
    names = [parameter.key for parameter in parameters]
    placed: list[Parameter] = []
    while parameters:
        ready = [p for p in parameters if set(p.given.condition) <= {q.key for q in placed}]
        if not ready:
            _refuse(parameters, names)
        placed += ready
        parameters = [p for p in parameters if p not in ready]
    return placed


def _refuse(parameters: list[Parameter], names: list[str]) -> None:
    for parameter in parameters:
        for key in parameter.given.condition:
            if key not in names:
                near = suggest(key, names)
                raise UserError(
                    f"search_space.{parameter.key}: condition: {key} is not searched{near} (searched: "
                    f"{', '.join(names)})"
                )
    raise UserError(f"search: the conditions of {', '.join(p.key for p in parameters)} depend on each other")


def _holds(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, dict):
        return set(wanted) == {"above"} and value > wanted["above"]
    return value in wanted if isinstance(wanted, list) else bool(value == wanted)


def _types(key: str) -> set[str]:
    schema = schema_of(key)
    return {part.get("type", "") for part in schema.get("anyOf", [schema])}


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _plain(value: Any) -> Any:
    """A choice as Optuna stores it: lists and mappings become text."""
    return format_value(value) if isinstance(value, list | tuple | dict) else value
