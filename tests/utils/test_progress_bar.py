"""Progress in a terminal of 80 columns, and without one."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from vicc_ray.utils import progress_bar
from vicc_ray.utils.progress_bar import ProgressBar


def lines(captured: pytest.CaptureFixture[str]) -> list[str]:
    return captured.readouterr().err.splitlines()


def test_the_last_log_line_has_the_count_and_no_remaining_time(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("embedding", 30) as bar:
        bar.advance(10)
        bar.advance(20, "3 failed")
    (line,) = lines(capsys)
    assert line.startswith("embedding: 30/30, 3 failed, ") and "left" not in line and ", ," not in line


def test_a_log_has_one_line_per_interval(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_bar, "PLAIN_INTERVAL_S", 0.0)
    with ProgressBar("embedding", 30) as bar:
        bar.update(10, seconds_left=600.0)
        bar.update(20)
    first, second, *rest = lines(capsys)
    assert "10/30" in first and "10 min left" in first and "20/30" in second and not rest


def test_nothing_is_shown_if_disabled(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("embedding", 30, show=False) as bar:
        bar.advance(30)
        bar.print("a line")
    assert capsys.readouterr().err == ""


def test_the_bar_fits_eighty_columns() -> None:
    written = io.StringIO()
    terminal = Console(file=written, force_terminal=True, width=80)
    bar = ProgressBar("flow-stage2-10", 123_456)
    bar._live.live.console = terminal
    bar.update(98_765, "loss 2.312  1,412 samples/s  R@1 flow 37.5 %", seconds_left=37_230.0)
    for renderable in bar._live.get_renderables():
        terminal.print(renderable)
    shown = [line for line in written.getvalue().splitlines() if line.strip()]
    assert len(shown) == 2 and "…" not in "".join(shown)
    assert "flow-stage2-10" in shown[0] and "98765/123456" in shown[0]
    assert "elapsed 0:00" in shown[0] and "left 10:20:30" in shown[0]
    assert "R@1 flow 37.5 %" in shown[1]


def test_brackets_in_names_are_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("a", 1) as bar:
        bar.print("clip[0].mp4 is gone", "warning")
        bar.advance(1)
    assert "warning: clip[0].mp4 is gone" in lines(capsys)
