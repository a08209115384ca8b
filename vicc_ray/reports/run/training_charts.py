"""The charts of training over its steps: by step, by epoch, and R@1 on the validation videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from vicc_ray.reports.formats import percent
from vicc_ray.reports.run.data import RunData
from vicc_ray.reports.run.figure import Figure
from vicc_ray.reports.run.thumbnails import Thumbnails
from vicc_ray.reports.svg.axes import linear_axis, round_axis
from vicc_ray.reports.svg.line_chart import Chart, Curve, Rule, Span, draw
from vicc_ray.reports.svg.scatter import Dot

STREAM_NAMES = {"rgb": "RGB", "flow": "flow"}


@dataclass(frozen=True)
class Series:
    """Values by step, None where unknown. ``low`` and ``high`` bound a band around them, if given.

    ``line`` and ``dots``: whether the values are joined by a line, and whether each of them is a dot.
    """

    steps: Sequence[float]
    values: Sequence[float | None]
    style: str
    line: bool = True
    dots: bool = False
    low: Sequence[float] = ()
    high: Sequence[float] = ()


def step_chart(
    summary: str,
    series: Sequence[Series],
    phases: list[dict[str, Any]],
    legend: Sequence[tuple[str, str]],
    rules: Sequence[tuple[float, str]] = (),
    floor: float | None = None,
    as_percent: bool = False,
) -> Chart:
    """Series over the steps of a run, whose phases are marked.

    Args:
        rules: reference lines, as (value, label).
        floor: a value that the y axis includes.
    """
    steps = [step for one in series for step in one.steps]
    steps += [step for phase in phases for step in (phase["first_step"], phase["last_step"])]
    levels = [value for one in series for value in (*one.values, *one.low, *one.high) if value is not None]
    levels += [value for value, _ in rules] + ([] if floor is None else [floor])
    x = linear_axis(min(steps, default=0.0), max(steps, default=1.0), margin=0.0)
    y = round_axis(levels, as_percent)
    bands = [
        Curve(
            [(x.place(step), y.place(value)) for step, value in zip(one.steps, one.high, strict=True)]
            + [(x.place(step), y.place(value)) for step, value in zip(one.steps, one.low, strict=True)][::-1],
            f"area {one.style}",
        )
        for one in series
        if one.low
    ]
    points = [
        [
            None if value is None else (x.place(step), y.place(value))
            for step, value in zip(one.steps, one.values, strict=True)
        ]
        for one in series
    ]
    lines = [Curve(at, f"line {one.style}") for one, at in zip(series, points, strict=True) if one.line]
    dots = [
        Dot(place, f"small {one.style}")
        for one, at in zip(series, points, strict=True)
        if one.dots
        for place in at
        if place is not None
    ]
    ends = [*(phase["first_step"] for phase in phases[1:]), *(phase["last_step"] for phase in phases[-1:])]
    return Chart(
        summary=summary,
        x=x,
        y=y,
        curves=[*bands, *lines],
        dots=dots,
        spans=[
            Span(x.place(phase["first_step"]), x.place(end), phase["name"], phase["stream"])
            for phase, end in zip(phases, ends, strict=True)
        ],
        rules=[Rule(y.place(value), label) for value, label in rules],
        legend=legend,
    )


def read_training(data: RunData) -> None:
    """Nothing of its own: the curves are in the phases. Notes why a chart is missing."""
    if not data.phases:
        data.missing["training"] = "No steps are recorded in metrics.jsonl yet. Run `vicc-ray pretrain`."
    if not any(phase["epochs"] for phase in data.phases):
        data.missing["epochs"] = (
            "epochs.jsonl has no records: no epoch has ended yet, or the run is from an old version."
        )
    if not data.validation:
        reason = "it needs labels" if data.unlabeled else "train.validate_every_epochs sets its interval"
        data.missing["validation"] = f"validation.jsonl has no records of validation ({reason})."


def draw_training(figures: dict[str, Any], thumbnails: Thumbnails | None) -> dict[str, Any]:
    """The charts by name; those without data are left out."""
    phases, retrieval = figures["phases"], figures["retrieval"]
    charts: dict[str, Markup] = {}
    has_prototypes = any(phase["ln_k"] for phase in phases)
    if phases:
        charts |= {"loss": draw(loss_chart(phases))}
        charts |= {"entropy": draw(entropy_chart(phases))} if has_prototypes else {}
    if any(phase["epochs"] for phase in phases):
        charts |= {"rank": draw(rank_chart(phases)), "gradient": draw(gradient_chart(phases))}
        charts |= {"prototypes": draw(prototypes_chart(phases))} if has_prototypes else {}
        charts["data_wait"] = draw(data_wait_chart(phases))
    if figures["validation"]:
        chance = retrieval["dataset"]["chance"] if retrieval else None
        charts["validation"] = draw(validation_chart(figures["validation"], phases, chance))
    return {"charts": charts}


def loss_chart(phases: list[dict[str, Any]]) -> Chart:
    """Raw and smoothed loss. ln K is the loss of a network that tells no two videos apart."""
    texts = [f"{p['name']} from {_number(p['start']['loss'])} to {_number(p['end']['loss'])}" for p in phases]
    return step_chart(
        f"Loss by step: {'; '.join(texts)}.",
        [*_by_step(phases, "loss", "faint"), *_by_step(phases, "loss_smooth")],
        phases,
        legend=[*_stream_legend(phases), ("faint", "raw")],
        rules=_ln_k(phases),
    )


def entropy_chart(phases: list[dict[str, Any]]) -> Chart:
    """Entropy of the mean assignment, which should stay near ln K, and of single ones, which should fall below it."""
    texts = [
        f"{p['name']}: mean {_number(p['end']['entropy'])}, single {_number(p['end']['assignment_entropy'])}"
        for p in phases
    ]
    return step_chart(
        f"Entropy of assignments at the end of each phase: {'; '.join(texts)}.",
        [*_by_step(phases, "entropy_smooth"), *_by_step(phases, "assignment_entropy_smooth", "dashed")],
        phases,
        legend=[("ink", "mean over the videos of a step"), ("ink dashed", "of a single video")],
        rules=_ln_k(phases),
        floor=0.0,
    )


def validation_chart(results: list[dict[str, Any]], phases: list[dict[str, Any]], chance: float | None) -> Chart:
    """R@1 on the validation videos with its 95 % interval, by phase."""
    names = list(dict.fromkeys(result["phase"] for result in results))
    series, texts = [], []
    for name in names:
        group = [result for result in results if result["phase"] == name]
        bounded = all("low" in result and "high" in result for result in group)
        series.append(
            Series(
                [result["step"] for result in group],
                [result["recall_at_1"] for result in group],
                group[0].get("stream", "rgb"),
                dots=True,
                low=[result["low"] for result in group] if bounded else (),
                high=[result["high"] for result in group] if bounded else (),
            )
        )
        texts.append(f"{name} ends at {percent(group[-1]['recall_at_1'])}")
    return step_chart(
        f"R@1 on the validation videos by step: {'; '.join(texts)}.",
        series,
        phases,
        legend=[*_stream_legend(phases), ("band", "95 % interval")],
        rules=[] if chance is None else [(chance, "chance")],
        floor=0.0,
        as_percent=True,
    )


def rank_chart(phases: list[dict[str, Any]]) -> Chart:
    """Effective rank of each epoch's embeddings. A collapsed network has 1."""
    return _epoch_chart(phases, "effective_rank", "Effective rank of the embeddings", "{:.1f}", floor=1.0)


def prototypes_chart(phases: list[dict[str, Any]]) -> Chart:
    """Share of prototypes that were the first choice of at least one sample in an epoch."""
    return _epoch_chart(phases, "prototypes_in_use", "Share of prototypes in use", "{:.0%}", as_percent=True)


def gradient_chart(phases: list[dict[str, Any]]) -> Chart:
    """Mean gradient norm of each epoch."""
    return _epoch_chart(phases, "gradient_norm", "Mean gradient norm", "{:.3g}")


def data_wait_chart(phases: list[dict[str, Any]]) -> Chart:
    """Share of each epoch's time that training spent waiting for data."""
    return _epoch_chart(phases, "data_wait_share", "Share of time spent waiting for data", "{:.0%}", as_percent=True)


def _epoch_chart(
    phases: list[dict[str, Any]], key: str, title: str, form: str, floor: float = 0.0, as_percent: bool = False
) -> Chart:
    series, texts = [], []
    for phase in phases:
        curves = phase["epochs"]["curves"] if phase["epochs"] else {"step": [], key: []}
        known = [value for value in curves[key] if value is not None]
        if known:
            several = len(known) > 1
            series.append(Series(curves["step"], curves[key], phase["stream"], line=several, dots=not several))
            texts.append(f"{phase['name']} ends at {form.format(known[-1])}")
    return step_chart(
        f"{title} by epoch: {'; '.join(texts) or 'unknown'}.",
        series,
        phases,
        legend=_stream_legend(phases),
        floor=floor,
        as_percent=as_percent,
    )


def _by_step(phases: list[dict[str, Any]], key: str, style: str = "") -> list[Series]:
    return [
        Series(phase["curves"]["step"], phase["curves"][key], f"{phase['stream']} {style}".strip()) for phase in phases
    ]


def _ln_k(phases: list[dict[str, Any]]) -> list[tuple[float, str]]:
    levels = dict.fromkeys(round(phase["ln_k"], 4) for phase in phases if phase["ln_k"])
    return [(level, f"ln K = {level:.2f}") for level in levels]


def _stream_legend(phases: list[dict[str, Any]]) -> list[tuple[str, str]]:
    streams = {phase["stream"] for phase in phases}
    return [(stream, f"{name} network") for stream, name in STREAM_NAMES.items() if stream in streams]


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


FIGURE = Figure(90, read_training, draw_training)
