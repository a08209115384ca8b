"""The charts of training, all over the steps of the run: by step, by epoch, and R@1 of held-out videos."""

from __future__ import annotations

from typing import Any

from vicc_ray.reports.run.summary import percent
from vicc_ray.reports.svg.line_chart import Area, Chart, Line, Rule, Span

STREAM_KEYS = (("rgb", "RGB"), ("flow", "flow"))


def loss_chart(phases: list[dict[str, Any]]) -> Chart:
    """Raw and smoothed loss; ln K is what a network that tells nothing apart pays."""
    told = [f"{t['name']} from {_told(t['start']['loss'])} to {_told(t['end']['loss'])}" for t in phases]
    return Chart(
        summary=f"Loss by step: {'; '.join(told)}.",
        lines=[*_curves(phases, "loss", "faint"), *_curves(phases, "loss_smooth", "")],
        spans=_spans(phases),
        rules=_ln_k(phases),
        legend=[*_stream_legend(phases), ("faint", "raw")],
    )


def entropy_chart(phases: list[dict[str, Any]]) -> Chart:
    """Entropy of the mean assignment (should stay near ln K) and of single assignments (should fall below it)."""
    told = [
        f"{t['name']}: mean {_told(t['end']['entropy'])}, single {_told(t['end']['assignment_entropy'])}"
        for t in phases
    ]
    return Chart(
        summary=f"Entropy of assignments at the end of each phase: {'; '.join(told)}.",
        lines=[
            *_curves(phases, "entropy_smooth", ""),
            *_curves(phases, "assignment_entropy_smooth", "dashed"),
        ],
        spans=_spans(phases),
        rules=_ln_k(phases),
        legend=[("ink", "mean over a step's videos"), ("ink dashed", "of one video")],
        floor=0.0,
    )


def checks_chart(checks: list[dict[str, Any]], phases: list[dict[str, Any]], chance: float | None) -> Chart:
    """R@1 of held-out videos with its 95 % interval, by phase."""
    names = list(dict.fromkeys(check["phase"] for check in checks))
    groups = [[check for check in checks if check["phase"] == name] for name in names]
    lines, areas, told = [], [], []
    for group in groups:
        style, x = group[0].get("stream", "rgb"), [check["step"] for check in group]
        y = [check["recall_at_1"] for check in group]
        lines += [Line(x, y, style), Line(x, y, f"{style} dots")]
        if all("low" in check and "high" in check for check in group):
            areas.append(Area(x, [c["low"] for c in group], [c["high"] for c in group], style))
        told.append(f"{group[0]['phase']} ends at {percent(y[-1])}")
    return Chart(
        summary=f"R@1 of held-out videos by step: {'; '.join(told)}.",
        lines=lines,
        areas=areas,
        spans=_spans(phases),
        rules=[] if chance is None else [Rule(chance, "chance")],
        legend=[*_stream_legend(phases), ("band", "95 % interval")],
        floor=0.0,
        as_percent=True,
    )


def rank_chart(phases: list[dict[str, Any]]) -> Chart:
    """Effective rank of each epoch's embeddings; 1 is what a collapsed network has."""
    return _epoch_chart(phases, "effective_rank", "Effective rank of the embeddings", "{:.1f}", floor=1.0)


def prototypes_chart(phases: list[dict[str, Any]]) -> Chart:
    """Share of prototypes that were any sample's first choice in an epoch."""
    return _epoch_chart(phases, "prototypes_in_use", "Share of prototypes in use", "{:.0%}", as_percent=True)


def gradient_chart(phases: list[dict[str, Any]]) -> Chart:
    """Mean norm of each epoch's gradients."""
    return _epoch_chart(phases, "gradient_norm", "Mean norm of the gradient", "{:.3g}")


def data_wait_chart(phases: list[dict[str, Any]]) -> Chart:
    """Share of each epoch's time in which training waited for data."""
    return _epoch_chart(
        phases, "data_wait_share", "Share of the time spent waiting for data", "{:.0%}", as_percent=True
    )


def _epoch_chart(
    phases: list[dict[str, Any]], key: str, title: str, form: str, floor: float = 0.0, as_percent: bool = False
) -> Chart:
    lines, told = [], []
    for phase in phases:
        curves = phase["epochs"]["curves"] if phase["epochs"] else {"step": [], key: []}
        known = [value for value in curves[key] if value is not None]
        if known:
            style = phase["stream"] if len(known) > 1 else f"{phase['stream']} dots"
            lines.append(Line(curves["step"], curves[key], style))
            told.append(f"{phase['name']} ends at {form.format(known[-1])}")
    return Chart(
        summary=f"{title} by epoch: {'; '.join(told) or 'unknown'}.",
        lines=lines,
        spans=_spans(phases),
        legend=_stream_legend(phases),
        floor=floor,
        as_percent=as_percent,
    )


def _curves(phases: list[dict[str, Any]], key: str, style: str) -> list[Line]:
    return [
        Line(phase["curves"]["step"], phase["curves"][key], f"{phase['stream']} {style}".strip()) for phase in phases
    ]


def _spans(phases: list[dict[str, Any]]) -> list[Span]:
    ends = [*(phase["first_step"] for phase in phases[1:]), *(phase["last_step"] for phase in phases[-1:])]
    return [
        Span(phase["first_step"], end, phase["name"], phase["stream"]) for phase, end in zip(phases, ends, strict=True)
    ]


def _ln_k(phases: list[dict[str, Any]]) -> list[Rule]:
    levels = dict.fromkeys(round(phase["ln_k"], 4) for phase in phases if phase["ln_k"])
    return [Rule(level, f"ln K = {level:.2f}") for level in levels]


def _stream_legend(phases: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(key, f"{text} network") for key, text in STREAM_KEYS if any(phase["stream"] == key for phase in phases)]


def _told(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"
