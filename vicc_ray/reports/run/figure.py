"""The figures of a run's report, and how they are found.

A figure is a section of the page and consists of two files: a module of this package that defines ``FIGURE``, and the
template of the same name in ``templates/``. No other file lists the figures: :func:`find_figures` imports every module
of the package, so a new figure is on the page as soon as its two files exist. What ``FIGURE.read`` returns is in
``report.json`` under the module's name, and the template sees it as ``data``.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vicc_ray.reports.run.data import RunData
    from vicc_ray.reports.run.thumbnails import Thumbnails

PACKAGE = "vicc_ray.reports.run"


def no_view(figures: dict[str, Any], thumbnails: Thumbnails | None) -> dict[str, Any]:
    """The view of a figure whose template needs nothing but its data."""
    return {}


@dataclass(frozen=True)
class Figure:
    """A section of the report."""

    position: int
    """Sections are in ascending order of their positions."""
    read: Callable[[RunData], Any]
    """Returns the figure's data as plain JSON values, None if the run has none. It may look at the data of figures
    before it (``RunData.figures``) and say in ``RunData.missing`` why there is nothing to show."""
    view: Callable[[dict[str, Any], Thumbnails | None], dict[str, Any]] = no_view
    """Returns further template variables, such as drawn charts, from the content of report.json."""


def find_figures() -> dict[str, Figure]:
    """All figures by module name, in the order of the page."""
    package = import_module(PACKAGE)
    modules = {found.name: import_module(f"{PACKAGE}.{found.name}") for found in pkgutil.iter_modules(package.__path__)}
    figures = {name: module.FIGURE for name, module in modules.items() if hasattr(module, "FIGURE")}
    return dict(sorted(figures.items(), key=lambda item: item[1].position))
