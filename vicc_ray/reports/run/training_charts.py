"""The charts of training, all over the steps of the run: by step, by epoch, and R@1 of held-out videos."""

from __future__ import annotations

from typing import Any

from vicc_ray.reports.run.summary import percent
from vicc_ray.reports.svg.line_chart import Area, Chart, Line, Rule, Span

STREAM_KEYS = (("rgb", "RGB"), ("flow", "flow"))


def loss_chart(turns: list[dict[str, Any]]) -> Chart:
    """Raw and smoothed loss; ln K is what a network that tells nothing apart pays."""
    told = [f"{t['name']} from {_told(t['start']['loss'])} to {_told(t['end']['loss'])}" for t in turns]
    return Chart(
        summary=f"Loss by step: {'; '.join(told)}.",
        lines=[*_curves(turns, "loss", "faint"), *_curves(turns, "loss_smooth", "")],
        spans=_spans(turns),
        rules=_ln_k(turns),
        legend=[*_stream_legend(turns), ("faint", "raw")],
    )


def entropy_chart(turns: list[dict[str, Any]]) -> Chart:
    """Entropy of the mean assignment (should stay near ln K) and of single assignments (should fall below it)."""
    told = [
        f"{t['name']}: mean {_told(t['end']['entropy'])}, single {_told(t['end']['assignment_entropy'])}" for t in turns
    ]
    return Chart(
        summary=f"Entropy of assignments at the end of each turn: {'; '.join(told)}.",
        lines=[
            *_curves(turns, "entropy_smooth", ""),
            *_curves(turns, "assignment_entropy_smooth", "dashed"),
        ],
        spans=_spans(turns),
        rules=_ln_k(turns),
        legend=[("ink", "mean over a step's videos"), ("ink dashed", "of one video")],
        floor=0.0,
    )


def checks_chart(checks: list[dict[str, Any]], turns: list[dict[str, Any]], chance: float | None) -> Chart:
    """R@1 of held-out videos with its 95 % interval, by turn."""
    names = list(dict.fromkeys(check["turn"] for check in checks))
    groups = [[check for check in checks if check["turn"] == name] for name in names]
    lines, areas, told = [], [], []
    for group in groups:
        style, x = group[0].get("stream", "rgb"), [check["step"] for check in group]
        y = [check["recall_at_1"] for check in group]
        lines += [Line(x, y, style), Line(x, y, f"{style} dots")]
        if all("low" in check and "high" in check for check in group):
            areas.append(Area(x, [c["low"] for c in group], [c["high"] for c in group], style))
        told.append(f"{group[0]['turn']} ends at {percent(y[-1])}")
    return Chart(
        summary=f"R@1 of held-out videos by step: {'; '.join(told)}.",
        lines=lines,
        areas=areas,
        spans=_spans(turns),
        rules=[] if chance is None else [Rule(chance, "chance")],
        legend=[*_stream_legend(turns), ("band", "95 % interval")],
        floor=0.0,
        as_percent=True,
    )


def rank_chart(turns: list[dict[str, Any]]) -> Chart:
    """Effective rank of each epoch's embeddings; 1 is what a collapsed network has."""
    return _epoch_chart(turns, "effective_rank", "Effective rank of the embeddings", "{:.1f}", floor=1.0)


def prototypes_chart(turns: list[dict[str, Any]]) -> Chart:
    """Share of prototypes that were any sample's first choice in an epoch."""
    return _epoch_chart(turns, "prototypes_in_use", "Share of prototypes in use", "{:.0%}", as_percent=True)


def gradient_chart(turns: list[dict[str, Any]]) -> Chart:
    """Mean norm of each epoch's gradients."""
    return _epoch_chart(turns, "gradient_norm", "Mean norm of the gradient", "{:.3g}")


def data_wait_chart(turns: list[dict[str, Any]]) -> Chart:
    """Share of each epoch's time in which training waited for data."""
    return _epoch_chart(turns, "data_wait_share", "Share of the time spent waiting for data", "{:.0%}", as_percent=True)


def _epoch_chart(
    turns: list[dict[str, Any]], key: str, title: str, form: str, floor: float = 0.0, as_percent: bool = False
) -> Chart:
    lines, told = [], []
    for turn in turns:
        curves = turn["epochs"]["curves"] if turn["epochs"] else {"step": [], key: []}
        known = [value for value in curves[key] if value is not None]
        if known:
            style = turn["stream"] if len(known) > 1 else f"{turn['stream']} dots"
            lines.append(Line(curves["step"], curves[key], style))
            told.append(f"{turn['name']} ends at {form.format(known[-1])}")
    return Chart(
        summary=f"{title} by epoch: {'; '.join(told) or 'unknown'}.",
        lines=lines,
        spans=_spans(turns),
        legend=_stream_legend(turns),
        floor=floor,
        as_percent=as_percent,
    )


def _curves(turns: list[dict[str, Any]], key: str, style: str) -> list[Line]:
    return [Line(turn["curves"]["step"], turn["curves"][key], f"{turn['stream']} {style}".strip()) for turn in turns]


def _spans(turns: list[dict[str, Any]]) -> list[Span]:
    ends = [*(turn["first_step"] for turn in turns[1:]), *(turn["last_step"] for turn in turns[-1:])]
    return [Span(turn["first_step"], end, turn["name"], turn["stream"]) for turn, end in zip(turns, ends, strict=True)]


def _ln_k(turns: list[dict[str, Any]]) -> list[Rule]:
    levels = dict.fromkeys(round(turn["ln_k"], 4) for turn in turns if turn["ln_k"])
    return [Rule(level, f"ln K = {level:.2f}") for level in levels]


def _stream_legend(turns: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(key, f"{text} network") for key, text in STREAM_KEYS if any(turn["stream"] == key for turn in turns)]


def _told(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"
