"""Assembles the page: figures, charts and films into ``report.html``, the figures alone into ``report.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from markupsafe import Markup

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.evaluation.feature_settings import check_store_of_run
from vicc_ray.reports.run.data import read_figures
from vicc_ray.reports.run.poster_sheet import PosterSheet
from vicc_ray.reports.run.summary import percent, points
from vicc_ray.reports.run.thumbnails import FRAMES, FRAMES_PER_S, Thumbnails, legend_uri
from vicc_ray.reports.run.training_charts import (
    data_wait_chart,
    entropy_chart,
    gradient_chart,
    loss_chart,
    prototypes_chart,
    rank_chart,
    validation_chart,
)
from vicc_ray.reports.svg.line_chart import draw
from vicc_ray.utils.fs import atomic_write
from vicc_ray.utils.html import content_policy, finished, load_templates
from vicc_ray.utils.progress_bar import duration

FLOW_VIDEOS = 4


def build_report(run_dir: Path, store: ClipStore | None, other: Path | None = None) -> Path:
    """Write ``run_dir/report/report.html`` and ``report.json`` from what the run folder holds.

    Parts that are not there yet are told in a line. Without ``store`` the page has no moving thumbnails.

    Args:
        other: folder of a run to compare with.

    Returns:
        the path of the page.

    Raises:
        UserError: ``run_dir`` is no run folder, a file in it is damaged, ``store`` has other videos than the run was
            evaluated on, or ``other`` has not been evaluated.
    """
    if store is not None:
        check_store_of_run(run_dir, store)
    figures = read_figures(run_dir, store, other)
    page = render(figures, store)
    folder = run_dir / "report"
    atomic_write(folder / "report.json", json.dumps(figures, indent=1, allow_nan=False) + "\n")
    atomic_write(folder / "report.html", page)
    return folder / "report.html"


def render(figures: dict[str, Any], store: ClipStore | None) -> str:
    """The page as HTML; every text of the run is escaped."""
    environment = load_templates("vicc_ray.reports.run", "templates")
    environment.filters.update(percent=percent, points=points, duration=duration, value=value, gib=gib)
    films = None if store is None else Thumbnails(store)
    shown = None if films is None or store is None else _flow_videos(figures, store, films)
    posters = None
    if store is not None and figures["map"]:
        posters = PosterSheet(store, [point["id"] for point in figures["map"]["points"]])
    body = environment.get_template("body.html.j2").render(
        figures=figures, films=films, charts=_charts(figures), bars=bar_scale(figures["table"]), flow_videos=shown,
        wheel=legend_uri(), posters=posters,
    )  # fmt: skip
    style: str = environment.get_template("page.css.j2").render(frames=FRAMES, seconds=FRAMES / FRAMES_PER_S)
    style += "" if films is None else films.css()
    if posters is not None:
        style += f"\n.map-point b{{background-image:url({posters.uri});background-size:{100 * posters.columns}% auto}}"
    # Styles are ours alone (numbers and base64), so they go in as they are; nothing else counts, and no script.
    page = environment.get_template("page.html.j2")
    policy = content_policy(style)
    return finished(page.render(title=figures["name"], policy=policy, style=Markup(style), body=Markup(body)))


def bar_scale(table: dict[str, Any] | None) -> float:
    """The R@1 at the right end of the bars: a round share above all intervals."""
    told = [row["high"] for row in table["rows"] if row["high"] is not None] if table else []
    highest = max(told, default=1.0)
    return next((limit for limit in (0.1, 0.2, 0.4, 0.6, 0.8) if highest <= limit), 1.0)


def gib(mib: float) -> str:
    """ "1.3 GiB"."""
    return f"{mib / 1024:.1f} GiB"


def value(setting: Any) -> str:
    """A setting as it is written in YAML."""
    return "–" if setting is None else setting if isinstance(setting, str) else json.dumps(setting)


def _charts(figures: dict[str, Any]) -> dict[str, Markup]:
    phases, checks, table = figures["phases"], figures["checks"], figures["table"]
    drawn = {}
    if phases:
        drawn = {"loss": draw(loss_chart(phases)), "entropy": draw(entropy_chart(phases))}
    if any(phase["epochs"] for phase in phases):
        drawn |= {"rank": draw(rank_chart(phases)), "prototypes": draw(prototypes_chart(phases))}
        drawn |= {"gradient": draw(gradient_chart(phases)), "data_wait": draw(data_wait_chart(phases))}
    if checks:
        drawn["checks"] = draw(validation_chart(checks, phases, table["dataset"]["chance"] if table else None))
    return drawn


def _flow_videos(figures: dict[str, Any], store: ClipStore, films: Thumbnails) -> list[dict[str, str]]:
    """A few videos whose flow is shown: queries of the gallery, those that move and are of different classes first."""
    if figures["gallery"]:
        candidates = [{"id": query["id"], "label": query["label"]} for query in figures["gallery"]["queries"]]
    else:
        step = max(1, len(store.entries) // FLOW_VIDEOS)
        candidates = [{"id": entry.id, "label": entry.label} for entry in store.entries[::step]]
    known = {entry.id for entry in store.entries}
    candidates = [video for video in candidates if video["id"] in known]
    candidates.sort(key=lambda video: films.still(video["id"]))
    firsts: dict[str, dict[str, str]] = {}
    for video in candidates:
        firsts.setdefault(video["label"], video)
    candidates.sort(key=lambda video: (films.still(video["id"]), firsts[video["label"]] is not video))
    return candidates[:FLOW_VIDEOS]
