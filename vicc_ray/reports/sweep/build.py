"""Puts the page together: words, charts, style and script into one file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from vicc_ray.reports.svg.line_chart import draw
from vicc_ray.reports.sweep import summary as summary_text
from vicc_ray.reports.sweep.final_eval import NAMES, in_words, judged_chart, verdict
from vicc_ray.reports.sweep.history import learning_chart, progress_chart
from vicc_ray.reports.sweep.parallel import draw_parallel, leaves_out
from vicc_ray.reports.sweep.slices import cost_chart, slice_chart
from vicc_ray.reports.sweep.trial_style import names, percent, scored, state_legend
from vicc_ray.reports.sweep.trial_table import rows
from vicc_ray.sweep.results import Summary
from vicc_ray.utils.fs import atomic_write
from vicc_ray.utils.html import content_policy, finished, load_templates

FOLDER = files("vicc_ray.reports.sweep") / "templates"
REPORT = files("vicc_ray.reports.run") / "templates"


def write_page(summary: Summary, file: Path) -> None:
    """Write the page of a sweep, whole or not at all.

    Args:
        summary: of a sweep that may still run, may have failed, or may have no trial yet.
        file: HTML, which needs no other file and asks for nothing over a network.
    """
    atomic_write(file, render(summary))


def render(summary: Summary) -> str:
    """The page as HTML; every text of the sweep is escaped."""
    script = (FOLDER / "page.js").read_text("utf-8")
    style = (REPORT / "base.css").read_text("utf-8") + (FOLDER / "page.css").read_text("utf-8")
    # Style and script are ours alone, so they go in as they are; no other may count.
    page = load_templates("vicc_ray.reports.sweep", "templates").get_template("page.html.j2").render(
        summary=summary,
        policy=content_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        told=summary_text,
        names=names(summary),
        verdict=verdict(summary),
        judged=[(run.setting, NAMES.get(run.setting, run.setting), *in_words(run)) for run in summary.judged],
        scored=bool(scored(summary.trials)),
        leaves_out=leaves_out(summary),
        states=state_legend(summary, summary.trials),
        importances=_importances(summary),
        rows=rows(summary),
        charts=_charts(summary),
    )  # fmt: skip
    return finished(page)


def _charts(summary: Summary) -> dict[str, Any]:
    """By name; None where there is nothing to draw."""
    drawn: dict[str, Any] = dict.fromkeys(("judged", "parallel", "progress", "learning", "cost", "slices"))
    if summary.judged:
        drawn["judged"] = draw(judged_chart(summary.judged))
    if summary.trials and summary.searched:
        drawn["parallel"] = draw_parallel(summary)
    if scored(summary.trials):
        drawn["progress"] = draw(progress_chart(summary))
        drawn["learning"] = draw(learning_chart(summary))
        drawn["cost"] = draw(cost_chart(summary))
        drawn["slices"] = [(key, name, draw(slice_chart(summary, key))) for key, name in names(summary).items()]
    return drawn


def _importances(summary: Summary) -> list[dict[str, Any]]:
    """Greatest first; settings of which nothing is told come last, without a share."""
    if not summary.importances:
        return []
    ordered = sorted(names(summary).items(), key=lambda name: -summary.importances.get(name[0], -1.0))
    return [
        {"key": key, "name": name, "share": share, "text": percent(share)}
        for key, name in ordered
        for share in [summary.importances.get(key)]
    ]
