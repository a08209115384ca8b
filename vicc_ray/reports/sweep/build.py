"""Builds the page of a sweep: one HTML file with charts, table, style and script."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from vicc_ray.reports.formats import percent_fixed
from vicc_ray.reports.page import render_page
from vicc_ray.reports.svg.line_chart import draw
from vicc_ray.reports.sweep.final_eval import NAMES, final_eval_chart, in_words, verdict
from vicc_ray.reports.sweep.history import learning_chart, progress_chart
from vicc_ray.reports.sweep.parallel import draw_parallel, has_inactive
from vicc_ray.reports.sweep.slices import cost_chart, slice_chart
from vicc_ray.reports.sweep.summary import failures, headline, lead, overlap_note, setting, tiles
from vicc_ray.reports.sweep.trial_style import names, scored, state_legend
from vicc_ray.reports.sweep.trial_table import rows
from vicc_ray.sweep.results import SweepSummary
from vicc_ray.utils.fs import atomic_write
from vicc_ray.utils.html import load_templates

MANY_TRIALS = 60
"""With more trials than this, lines are thinner and points smaller."""
TEMPLATES = files("vicc_ray.reports.sweep") / "templates"


def write_page(summary: SweepSummary, file: Path) -> None:
    """Write the page of a sweep to ``file``, atomically.

    Args:
        summary: of a sweep in any state: running, failed, or without trials.
    """
    atomic_write(file, render(summary))


def render(summary: SweepSummary) -> str:
    """The page as HTML; every text of the sweep is escaped."""
    body = load_templates("vicc_ray.reports.sweep", "templates").get_template("body.html.j2").render(
        summary=summary,
        headline=headline(summary),
        lead=lead(summary),
        best_setting=setting(summary, summary.best) if summary.best else [],
        overlap_note=overlap_note(summary),
        tiles=tiles(summary),
        failures=failures(summary),
        names=names(summary),
        verdict=verdict(summary),
        final_eval=[(run.setting, NAMES.get(run.setting, run.setting), *in_words(run)) for run in summary.final_eval],
        scored=bool(scored(summary.trials)),
        has_inactive=has_inactive(summary),
        states=state_legend(summary, summary.trials),
        importances=_importances(summary),
        rows=rows(summary),
        charts=_charts(summary),
    )  # fmt: skip
    return render_page(
        f"{summary.name} · vicc-ray sweep",
        Markup(body),
        (TEMPLATES / "style.css").read_text("utf-8"),
        (TEMPLATES / "script.js").read_text("utf-8"),
        "many" if len(summary.trials) > MANY_TRIALS else "",
    )


def _charts(summary: SweepSummary) -> dict[str, Any]:
    """Charts by name; None without data."""
    drawn: dict[str, Any] = dict.fromkeys(("final_eval", "parallel", "progress", "learning", "cost", "slices"))
    if summary.final_eval:
        drawn["final_eval"] = draw(final_eval_chart(summary.final_eval))
    if summary.trials and summary.searched:
        drawn["parallel"] = draw_parallel(summary)
    if scored(summary.trials):
        drawn["progress"] = draw(progress_chart(summary))
        drawn["learning"] = draw(learning_chart(summary))
        drawn["cost"] = draw(cost_chart(summary))
        drawn["slices"] = [(key, name, draw(slice_chart(summary, key))) for key, name in names(summary).items()]
    return drawn


def _importances(summary: SweepSummary) -> list[dict[str, Any]]:
    """Settings by importance, greatest first; those without a known importance are last, with ``share`` None."""
    if not summary.importances:
        return []
    ordered = sorted(names(summary).items(), key=lambda name: -summary.importances.get(name[0], -1.0))
    return [
        {"key": key, "name": name, "share": share, "text": percent_fixed(share)}
        for key, name in ordered
        for share in [summary.importances.get(key)]
    ]
