"""The figures of the README, and those of the results behind them, equal the benchmark's JSON."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.docs.pages import ROOT

README = (ROOT / "README.md").read_text()
RESULTS = (ROOT / "docs" / "results.md").read_text()
ROWS = {
    "RGB: random network": "rgb-random",
    "RGB alone: stage 1, then as many steps again": "control",
    "RGB after the cross-stream stage": "rgb-stage2-1",
    "flow: random network": "flow-random",
    "flow after stage 1": "flow-stage1",
    "RGB + flow": "rgb+flow",
}


def of_benchmark(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / "benchmarks" / f"{name}.json").read_text())
    return content


def section(title: str) -> str:
    """The text of the results below a heading."""
    return RESULTS.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def mean_and_deviation(row: dict[str, float]) -> tuple[float, float]:
    return round(row["mean"], 1), round(row["standard_deviation"], 1)


def test_the_demo_table_equals_the_claim() -> None:
    claim = of_benchmark("claim")
    rows = re.findall(r"^\| \**(.+?)\** \| \**([\d.]+) ± ([\d.]+)\** \|$", section("Demo"), re.M)
    found = {ROWS[name]: (float(mean), float(deviation)) for name, mean, deviation in rows}
    assert found == {key: mean_and_deviation(claim["summary"][key]) for key in ROWS.values()}
    assert f"recipe `{claim['recipe']}`" in section("Demo") and len(claim["seeds"]) == 3


def test_the_readme_headline_equals_the_claim() -> None:
    summary = of_benchmark("claim")["summary"]
    headline = README[README.index("**Result:**") : README.index("## How it works")]
    found = [(float(mean), float(deviation)) for mean, deviation in re.findall(r"([\d.]+) ± ([\d.]+)", headline)]
    assert found == [mean_and_deviation(summary[key]) for key in ("rgb-random", "rgb-stage2-1", "control")]


def test_the_demo_duration_equals_the_claim() -> None:
    minutes = [seed["minutes"]["videos"] + seed["minutes"]["cross"] for seed in of_benchmark("claim")["seeds"]]
    for page in (README, RESULTS, (ROOT / "docs" / "tutorial" / "laptop.md").read_text()):
        stated = re.search(r"(\d+) to (\d+) minutes on two", page)
        assert stated and [int(stated[1]), int(stated[2])] == [round(min(minutes)), round(max(minutes))]


def test_the_figures_of_real_videos_equal_their_benchmark() -> None:
    own, text = of_benchmark("own_videos"), section("Your own videos")
    data, scores = own["dataset"], own["recall_at_1"]
    for name, key in (("RGB: random network", "rgb-random"), ("RGB + flow", "rgb+flow")):
        r1, low, high = (round(scores[key][part]) for part in ("r1", "low", "high"))
        assert f"| {name} | {r1} | {low} to {high} |" in text
    assert f"| chance | {round(100 * data['chance'])} | |" in text
    wanted = [data["videos"], data["test"], round(own["minutes"])]
    before_table = text[: text.index("\n|")]
    assert [int(number) for number in re.findall(r"(?<![\w.=])\d+(?![\w.])", before_table)] == wanted
    assert [setting for setting in own["settings"] if setting not in text] == []
