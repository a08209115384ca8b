"""The page of a sweep, in every state of a sweep: what is drawn, and where."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tests.injected import check_inert
from tests.search.browser import Tab
from tests.stored import store_of, video
from tests.sweep.example_sweep import sweep_of
from tests.sweep.sweep_results import searched, summary_of, trial_of
from vicc_ray.reports.svg.axes import score_axis, setting_axis
from vicc_ray.reports.sweep import write_page
from vicc_ray.reports.sweep.build import render
from vicc_ray.reports.sweep.final_eval import final_eval_chart, verdict
from vicc_ray.reports.sweep.history import learning_chart, progress_chart
from vicc_ray.reports.sweep.slices import cost_chart, pareto_front, slice_chart
from vicc_ray.reports.sweep.summary import failures, headline, overlap_note, overlapping_trials, pruning_savings
from vicc_ray.sweep.optuna_study import SweepStudy
from vicc_ray.sweep.outputs import summarize, write_outputs
from vicc_ray.sweep.results import FinalEval, SweepSummary
from vicc_ray.sweep.sweep_dir import SweepDir

HTML = '<img src=x onerror="alert(1)">'
STATES = {
    "whole": searched(24),
    "many": searched(200, seed=1),
    "one": summary_of([trial_of()]),
    "none begun": summary_of([], total=20),
    "all failed": summary_of([trial_of(n, "failed", (), reason=f"out of {HTML}") for n in range(3)]),
    "none complete": summary_of([trial_of(0, "pruned"), trial_of(1, "running", ()), trial_of(2, "running")], total=9),
    "not a number": summary_of([trial_of(0, scores=(0.2, float("nan"))), trial_of(1)]),
    "lists and texts": summary_of(
        [
            trial_of(n, values={"stage2.sinkhorn_epsilon": value})
            for n, value in enumerate([[1, 2], [3], "yes", True, 4, None])
        ]
    ),
}


def text_of(page: str) -> str:
    """What is read of it."""
    body = re.sub(r"<(script|style)>.*?</\1>", "", page.partition("<body")[2], flags=re.DOTALL)
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body)))


def numbers(page: str) -> list[int]:
    """Trials in the table, in its order."""
    return [int(number) for number in re.findall(r'<tr class="[^"]*" data-trial="(\d+)">', page)]


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES)
def test_every_trial_is_in_the_table_once(state: str) -> None:
    assert sorted(numbers(render(STATES[state]))) == [trial.number for trial in STATES[state].trials]


@pytest.mark.parametrize("state", STATES)
def test_all_marks_lie_inside_their_chart(state: str) -> None:
    page = render(STATES[state])
    assert not re.search(r"\bnan\b", page)
    for share in re.findall(r'class="(?:point|tick)[^"]*"[^>]*style="left:([-\d.]+)%;bottom:([-\d.]+)%', page):
        assert all(0 <= float(part) <= 100 for part in share)
    for path in re.findall(r' d="(M[^"]*)"', page):
        places = [float(part) for part in re.findall(r"-?[\d.]+", path)]
        assert all(-25 <= x <= 1025 for x in places[::2])
        assert all(0 <= y <= 400 for y in places[1::2])


def test_the_best_trial_is_marked() -> None:
    whole = STATES["whole"]
    assert whole.best is not None
    page = render(whole)
    marked = re.findall(r'<tr class="complete best" data-trial="(\d+)">', page)
    assert marked == [str(whole.best.number)] and numbers(page)[0] == whole.best.number
    assert f"{100 * (whole.best.recall_at_1 or 0):.1f}\u00a0%" in headline(whole)
    for chart in (
        progress_chart(whole),
        learning_chart(whole),
        cost_chart(whole),
        slice_chart(whole, "stage2.sinkhorn_epsilon"),
    ):
        assert chart.dots[-1].trial == whole.best.number and "best" in chart.dots[-1].style
    assert "best" not in "".join(dot.style for dot in progress_chart(STATES["none complete"]).dots)


def test_dots_are_at_their_scores() -> None:
    summary = summary_of([trial_of(0, scores=(0.2,)), trial_of(1, scores=(0.3,)), trial_of(2, scores=(0.25,))])
    chart = progress_chart(summary)
    heights = {dot.trial: dot.at[1] for dot in chart.dots}
    assert heights[0] == pytest.approx(0.0) and heights[1] == pytest.approx(1.0) and heights[2] == pytest.approx(0.5)
    assert [dot.trial for dot in sorted(chart.dots, key=lambda dot: dot.at[0])] == [0, 1, 2]
    (line,) = chart.curves
    assert [round(height, 6) for _, height in line.points] == [0, 0, 1, 1]


def test_intervals_are_drawn_around_dots() -> None:
    chart = slice_chart(STATES["whole"], "stage2.temperature")
    whiskers = {curve.trial: curve.points for curve in chart.curves}
    for dot in chart.dots:
        if not dot.style.startswith("failed"):
            (left, low), (right, high) = whiskers[dot.trial]
            assert left == right == dot.at[0] and low < dot.at[1] < high


def test_a_slice_has_the_trials_that_have_the_setting() -> None:
    whole = STATES["whole"]
    having = {trial.number for trial in whole.trials if "stage2.queue_start_epoch" in trial.values}
    chart = slice_chart(whole, "stage2.queue_start_epoch")
    assert {dot.trial for dot in chart.dots} == having and len(having) < len(whole.trials)


def test_axes_fit_their_values() -> None:
    assert setting_axis([0.01, 0.03, 0.5]).log and not setting_axis([0.4, 0.6, 0.9]).log
    factors = setting_axis([0.01, 0.1, 1.0])
    assert factors.place(0.1) - factors.place(0.01) == pytest.approx(factors.place(1.0) - factors.place(0.1))
    assert [text for _, text in setting_axis([20, 8, 8, 12]).ticks] == ["8", "12", "20"]
    lists = setting_axis([[64, 128], [32], None, [64, 128]])
    assert lists.choices == 2 and 0 < lists.place([32]) < lists.place([64, 128]) < 1
    assert setting_axis([3, 3]).place(3) == 0.5
    assert {text for _, text in score_axis([0.4]).ticks} >= {"40\u00a0%"}


def test_the_pareto_front_has_the_non_dominated_trials() -> None:
    costs = {0: (0.3, 60), 1: (0.2, 90), 2: (0.4, 120), 3: (0.4, 150)}
    trials = [
        replace(trial_of(n, scores=(score,)), cost=replace(trial_of().cost, seconds=seconds))
        for n, (score, seconds) in costs.items()
    ]
    early = replace(trial_of(4, "pruned", scores=(0.5,)), cost=replace(trial_of().cost, seconds=1.0))
    assert [trial.number for trial, _ in pareto_front(summary_of([*trials, early]))] == [0, 2]


def test_saved_time_is_relative_to_the_longest_trial() -> None:
    whole = trial_of(0, scores=(0.1,) * 12)
    saved = pruning_savings(summary_of([whole, trial_of(1, "pruned", (0.1, 0.1))]))
    assert saved is not None
    assert (saved.epochs, saved.seconds) == (10.0, 300.0) and saved.share == pytest.approx(10 / 24)
    assert pruning_savings(summary_of([whole])) is None


@pytest.mark.parametrize(
    ("best", "default", "kind"),
    [
        ([0.5, 0.52], [0.4, 0.42], "better"),
        ([0.5, 0.4], [0.42, 0.44], "same"),
        ([0.3, 0.31], [0.4, 0.42], "worse"),
        ([0.5], [0.4], "open"),
    ],
)
def test_the_verdict_accounts_for_the_spread(best: list[float], default: list[float], kind: str) -> None:
    final_eval = [FinalEval("best", best), FinalEval("default", default)]
    summary = replace(STATES["one"], final_eval=final_eval)
    assert verdict(summary).kind == kind
    assert verdict(summary).title in text_of(render(summary))
    assert len(final_eval_chart(final_eval).dots) == len(best) + len(default)


def test_the_verdict_is_open_if_no_setting_beats_the_default() -> None:
    summary = replace(STATES["one"], final_eval=[FinalEval("default", [0.4, 0.4])])
    assert verdict(summary).kind == "open" and verdict(summary).title in text_of(render(summary))


def test_trials_within_the_interval_of_the_best_are_counted() -> None:
    near, far = trial_of(1, scores=(0.39,)), trial_of(1, scores=(0.1,))
    assert overlapping_trials(summary_of([trial_of(), near])) == (1, 1)
    assert overlapping_trials(summary_of([trial_of(), far])) == (0, 1)
    assert overlap_note(summary_of([trial_of(), near])) != overlap_note(summary_of([trial_of(), far]))
    assert overlap_note(summary_of([trial_of()])) == ""


def test_reasons_of_failures_are_counted() -> None:
    ((trials, reason),) = failures(STATES["all failed"])
    page = text_of(render(STATES["all failed"]))
    assert "3 trials (0, 1, 2)" in trials and trials in page
    assert reason == f"out of {HTML}" and reason in page


def test_importances_are_bars_in_descending_order() -> None:
    assert STATES["one"].importances == {} and 'class="bar"' not in render(STATES["one"])
    page = render(STATES["whole"])
    widths = re.findall(r'<i style="width:([\d.]+)%">', page.partition('id="importances"')[2])
    assert widths == sorted(widths, key=float, reverse=True) and len(widths) == len(STATES["whole"].importances)


def hostile() -> SweepSummary:
    """HTML wherever text comes from outside."""
    trials = [
        trial_of(0, values={"stage2.sinkhorn_epsilon": HTML}, warnings=[HTML]),
        trial_of(1, "failed", (), values={"stage2.sinkhorn_epsilon": [HTML]}, reason=HTML),
    ]
    return summary_of(trials, name=HTML, recipe=f"</script>{HTML}")


def test_page_and_files_agree(tmp_path: Path) -> None:
    plan, folder = sweep_of(), SweepDir(tmp_path)
    folder.open(plan.settings, plan.base, store_of(tmp_path / "store", [video(0)]))
    trials = [
        trial_of(0, values={"stage2.sinkhorn_epsilon": 0.05, "stage2.num_prototypes": 12, "stage2.queue_size": 0})
    ]
    summary = summarize(plan, SweepStudy(folder.study_file, plan), folder, trials, 4, [])
    write_outputs(plan, summary, folder)
    write_page(summary, folder.page_file)
    assert folder.page_file.read_text("utf-8") == render(summary)
    assert json.loads(folder.summary_file.read_text()) == summary.as_json()
    assert pq.read_table(folder.table_file).column("number").to_pylist() == [0]
    assert yaml.safe_load(folder.best_file.read_text())["stage2"]["sinkhorn_epsilon"] == 0.05


def test_many_trials_have_thinner_lines() -> None:
    assert '<body class="many">' in render(STATES["many"]) and '<body class="">' in render(STATES["whole"])


def test_untrusted_names_are_escaped() -> None:
    page = render(hostile())
    assert HTML not in page and "<img" not in page and page.count("</script>") == 1
    assert HTML in text_of(page)


@pytest.fixture
def quiet_tab(tab: Tab) -> Iterator[Tab]:
    """One that complains of nothing and asks for nothing."""
    tab.problems.clear()
    tab.requests.clear()
    yield tab
    assert tab.problems == []
    assert [address for address in tab.requests if not address.startswith(("data:", "file:"))] == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", [*STATES, "hostile"])
def test_the_page_fits_a_phone_without_console_errors(quiet_tab: Tab, state: str, scheme: str, tmp_path: Path) -> None:
    file = tmp_path / "sweep.html"
    write_page(hostile() if state == "hostile" else STATES[state], file)
    quiet_tab.page.set_viewport_size({"width": 390, "height": 800})
    quiet_tab.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    quiet_tab.page.goto(file.as_uri())
    assert quiet_tab.page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
def test_selecting_a_trial_highlights_it_and_columns_sort(quiet_tab: Tab, tmp_path: Path) -> None:
    file, whole = tmp_path / "sweep.html", STATES["whole"]
    write_page(whole, file)
    quiet_tab.page.set_viewport_size({"width": 1100, "height": 900})
    quiet_tab.page.goto(file.as_uri())
    assert quiet_tab.page.locator("#tooltip").is_hidden()
    quiet_tab.page.locator('#progress .point[data-trial="2"]').hover()
    assert quiet_tab.texts("#tooltip b") == ["Trial 2, complete"]
    assert set(quiet_tab.page.locator(".on").evaluate_all("marks => marks.map(mark => mark.dataset.trial)")) == {"2"}
    quiet_tab.page.locator("#trials thead button", has_text="min").click()
    costs = [float(text) for text in quiet_tab.texts("#trials tbody td:nth-child(5)")]
    assert costs == sorted(costs)
    quiet_tab.page.locator("#trials thead button", has_text="queue_start").click()
    texts = quiet_tab.texts("#trials tbody tr td:nth-last-child(2)")
    known = [int(text) for text in texts if text != "–"]
    assert known == sorted(known) and texts[: len(known)] == [str(value) for value in known]


@pytest.mark.slow
@pytest.mark.parametrize("state", ["whole", "hostile"])
def test_the_content_security_policy_blocks_injected_html(tab: Tab, state: str, tmp_path: Path) -> None:
    file = tmp_path / "sweep.html"
    write_page(hostile() if state == "hostile" else STATES[state], file)
    check_inert(tab, file)


def test_a_bidirectional_name_does_not_reorder_the_text_around_it() -> None:
    page = render(summary_of([trial_of(0, "failed", (), reason="a\u202eb\x1b\u2066")], name="\u202ec\udcff"))
    assert not set("\u202e\u2066\x1b\udcff") & set(page)
    assert r"a\u202eb\x1b\u2066" in page and r"\u202ec\udcff" in page
