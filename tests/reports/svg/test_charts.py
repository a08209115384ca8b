"""The chart kit of both pages: axes, ticks, and what is drawn."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.reports.page import Page
from vicc_ray.reports.run.training_charts import Series, step_chart
from vicc_ray.reports.svg.axes import nice_ticks
from vicc_ray.reports.svg.line_chart import HEIGHT, WIDTH, Chart, draw

PHASES = [
    {"first_step": 0, "last_step": 24, "name": "RGB stage 1", "stream": "rgb"},
    {"first_step": 25, "last_step": 49, "name": "Flow <2>", "stream": "flow"},
]


def chart_of(*series: Series) -> Chart:
    return step_chart("a summary", series, PHASES, legend=[("rgb", "RGB")], rules=[(4.2, "ln K")])


def test_all_marks_lie_inside_the_chart() -> None:
    rng = np.random.default_rng(0)
    steps, values = list(range(50)), list(rng.normal(3, 1, 50))
    band = Series(steps, values, "rgb", low=[v - 1 for v in values], high=[v + 1 for v in values])
    html = str(draw(chart_of(band, Series(steps, [None, *values[1:]], "flow", line=False, dots=True))))
    page = Page(html)
    for path in page.attributes("d"):
        numbers = [float(number) for number in re.findall(r"-?\d+\.?\d*", path)]
        assert numbers
        assert all(0 <= x <= WIDTH for x in numbers[::2]) and all(0 <= y <= HEIGHT for y in numbers[1::2])
    assert page.attributes("aria-label") == ["a summary"]
    assert "Flow" in page.text and "<2>" in page.text and "ln K" in page.text


def test_every_finite_value_is_a_dot_at_its_position() -> None:
    chart = chart_of(Series([0, 10, 49], [1.0, None, 3.0], "rgb", line=False, dots=True))
    assert chart.curves == []
    assert [dot.at[0] for dot in chart.dots] == [0.0, 1.0]
    low, high = (dot.at[1] for dot in chart.dots)
    assert low < high < chart.rules[0].at


def test_gaps_in_a_curve_are_gaps() -> None:
    chart = step_chart("", [Series([0, 1, 2, 3, 4], [1, 2, None, 2, 1], "rgb")], [], legend=[])
    (path,) = [path for path in Page(str(draw(chart))).attributes("d") if path.count("L") > 1]
    assert path.count("M") == 2 and path.count("L") == 2


def test_a_single_point_and_an_empty_chart_can_be_drawn() -> None:
    for series in (Series([3], [2.0], "rgb"), Series([0, 1], [None, None], "rgb")):
        html = str(draw(step_chart("", [series], [], legend=[])))
        assert "nan" not in html and Page(html).attributes("role") == ["img"]


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.02, 0.031), (-3, 7), (2.1, 3.2), (0, 54321), (5, 5), (0, 0), (1e-7, 2e-7), (0.3, 0.55)]
)
def test_ticks_are_round_and_span_the_values(low: float, high: float) -> None:
    ticks = nice_ticks(low, high, count=6)
    steps = np.diff(ticks)
    assert ticks[0] <= low + 1e-9 and ticks[-1] >= high - 1e-9 and 2 <= len(ticks) <= 9
    assert np.allclose(steps, steps[0])
