"""Base class and value types of all configuration sections."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

Stream = Literal["rgb", "flow"]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]


class ConfigSection(BaseModel):
    """Base class of all sections: immutable, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, strict=False)


class _Resumable:
    """Type of :data:`RESUMABLE`."""


RESUMABLE: Final = _Resumable()
"""Marker in the ``Annotated`` of a setting or section that may change when a run resumes: it affects no result."""


def resumable(model: type[BaseModel]) -> set[str]:
    """Fields of a section that are marked :data:`RESUMABLE`."""
    return {name for name, field in model.model_fields.items() if RESUMABLE in field.metadata}
