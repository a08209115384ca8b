"""Builds the report of a run: ``report.html``, and the same content as ``report.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.evaluation.feature_settings import check_store_of_run
from vicc_ray.reports.formats import interval, percent, points
from vicc_ray.reports.page import render_page
from vicc_ray.reports.run.data import RunData, collect
from vicc_ray.reports.run.figure import find_figures
from vicc_ray.reports.run.thumbnails import FRAMES, FRAMES_PER_S, Thumbnails
from vicc_ray.utils.fs import atomic_write
from vicc_ray.utils.html import load_templates
from vicc_ray.utils.progress_bar import duration


def build_report(run_dir: Path, store: ClipStore | None, other: Path | None = None) -> Path:
    """Write ``run_dir/report/report.html`` and ``report.json`` from the content of the run folder.

    A section whose data does not exist yet says so in a sentence. Without ``store`` the page has no thumbnails.

    Args:
        other: folder of a run to compare with.

    Returns:
        the path of the page.

    Raises:
        UserError: ``run_dir`` is not a run folder, a file in it is damaged, ``store`` has other videos than the run was
            evaluated on, or ``other`` has not been evaluated.
    """
    if store is not None:
        check_store_of_run(run_dir, store)
    data = RunData(run_dir, store, other)
    figures = collect(data)
    page = render(figures, data.thumbnails)
    folder = run_dir / "report"
    atomic_write(folder / "report.json", json.dumps(figures, indent=1, allow_nan=False) + "\n")
    atomic_write(folder / "report.html", page)
    return folder / "report.html"


def render(figures: dict[str, Any], thumbnails: Thumbnails | None) -> str:
    """The page as HTML; every text of the run is escaped."""
    environment = load_templates("vicc_ray.reports.run", "templates")
    environment.filters.update(
        percent=percent, points=points, duration=duration, yaml_value=yaml_value, gib=gib, interval=interval
    )
    common = {"figures": figures, "thumbnails": thumbnails}
    sections = [
        _render(environment, name, **common, data=figures[name], **figure.view(figures, thumbnails))
        for name, figure in find_figures().items()
    ]
    body = _render(environment, "body", **common, sections=sections)
    style = environment.get_template("style.css.j2").render(frames=FRAMES, seconds=FRAMES / FRAMES_PER_S)
    style += "" if thumbnails is None else thumbnails.css()
    return render_page(f"{figures['name']} · vicc-ray report", body, style)


def gib(mib: float) -> str:
    """ "1.3 GiB"."""
    return f"{mib / 1024:.1f} GiB"


def yaml_value(setting: Any) -> str:
    """A setting's value as YAML writes it."""
    return "–" if setting is None else setting if isinstance(setting, str) else json.dumps(setting)


def _render(environment: Environment, name: str, **variables: Any) -> Markup:
    return Markup(environment.get_template(f"{name}.html.j2").render(**variables))
