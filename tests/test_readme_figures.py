"""Every figure of the README is that of the JSON beside the script that made it, with its settings."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
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


def test_the_table_of_the_demo_is_that_of_the_claim() -> None:
    claim = of_benchmark("claim")
    rows = re.findall(r"^\| \**(.+?)\** \| \**([\d.]+) ± ([\d.]+)\** \|$", README, re.M)
    found = {ROWS[name]: (float(mean), float(deviation)) for name, mean, deviation in rows}
    told = {key: claim["summary"][key] for key in ROWS.values()}
    assert found == {key: (round(row["mean"], 1), round(row["standard_deviation"], 1)) for key, row in told.items()}
    assert f"Recipe `{claim['recipe']}` as it is" in README and len(claim["seeds"]) == 3


def test_the_minutes_of_the_demo_are_those_of_the_claim() -> None:
    minutes = [seed["minutes"]["videos"] + seed["minutes"]["cross"] for seed in of_benchmark("claim")["seeds"]]
    told = re.search(r"The demo took (\d+) to (\d+) minutes", README)
    assert told and [int(told[1]), int(told[2])] == [round(min(minutes)), round(max(minutes))]


def test_the_figures_of_real_videos_are_those_of_their_benchmark() -> None:
    own = of_benchmark("own_videos")
    told = README[README.index("- Few videos make wide intervals") : README.index("- With labels, action recognition")]
    data, scores = own["dataset"], own["recall_at_1"]
    both, random = ([round(scores[key][part]) for part in ("r1", "low", "high")] for key in ("rgb+flow", "rgb-random"))
    wanted = [data["videos"], data["test"], round(own["minutes"]), *both[:1], 95, *both[1:], *random]
    numbers = [int(number) for number in re.findall(r"(?<![\w.=])\d+(?![\w.])", told)]
    assert numbers == [*wanted, round(100 * data["chance"])]
    assert [setting for setting in own["settings"] if setting not in told] == []
