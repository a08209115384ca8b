"""Main claim: cross-stream training teaches the RGB network motion. Several seeds, synthetic videos, CPU only.

For each seed of videos, weights and sampling:
  cross     RGB stage 1, flow stage 1, RGB stage 2 against the frozen flow network (the unchanged recipe)
  control   from the same stage-1 checkpoint, the RGB network alone for the same number of steps
Reported: R@1 of the random networks, of each phase and of the control (mean and deviation over the seeds), and the two
gains. Everything runs through the command line.

    python benchmarks/claim.py OUT --seeds 0 1 2     # writes benchmarks/claim.json

A stopped call resumes when it is repeated.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from measured import machine, recalls, vicc_ray

RESULT = Path(__file__).with_suffix(".json")
RECIPE = "demo"
STAGE1_END = "phase-1-flow-stage1"
MINUTES = "minutes.json"


def main() -> None:
    """Run the seeds and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    rows = [run_seed(options.out / f"seed-{seed}", seed) for seed in options.seeds]
    result = {"recipe": RECIPE, "machine": machine(), "seeds": rows, "summary": summarize(rows)}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["summary"], indent=1))


def run_seed(out: Path, seed: int) -> dict[str, object]:
    """R@1 in percent of every network of one seed, and the minutes of each part."""
    videos, override = out / "videos", ("--set", f"seed={seed}")
    timed(out, "videos", "make-videos", videos, "--seed", seed)
    timed(out, "cross", "run", RECIPE, "--videos", videos, "--out", out, *override)
    control, store = out / "control", out / "store"
    start = out / "run" / "checkpoints" / STAGE1_END
    alone = (*override, "--set", "schedule.cross_stream=false")
    timed(out, "control", "pretrain", RECIPE, "--store", store, "--run", control, "--init-from", start, *alone)
    timed(out, "control evaluation", "evaluate", "--store", store, "--run", control)
    scores = {key: row["r1"] for key, row in recalls(out / "run").items()}
    scores["control"] = recalls(control)["rgb-stage2-1"]["r1"]
    return {"seed": seed, "recall_at_1": scores, "minutes": json.loads((out / MINUTES).read_text())}


def timed(out: Path, name: str, *arguments: object) -> None:
    """Call ``vicc-ray`` and record its minutes in ``out``; a part that was complete before keeps its time."""
    file = out / MINUTES
    minutes = json.loads(file.read_text()) if file.exists() else {}
    start = time.perf_counter()
    vicc_ray(*arguments)
    file.write_text(json.dumps({name: round((time.perf_counter() - start) / 60, 2), **minutes}))


def summarize(rows: list[dict]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation over the seeds of each R@1 and of the gains."""
    columns = {key: [row["recall_at_1"][key] for row in rows] for key in rows[0]["recall_at_1"]}
    columns["gain over the control"] = _difference(columns, "rgb-stage2-1", "control")
    columns["gain over RGB stage 1"] = _difference(columns, "rgb-stage2-1", "rgb-stage1")
    columns["gain of flow over its random network"] = _difference(columns, "flow-stage1", "flow-random")
    return {
        key: {
            "mean": round(statistics.mean(values), 2),
            "standard_deviation": round(statistics.stdev(values), 2) if len(values) > 1 else 0.0,
            "least": min(values),
        }
        for key, values in columns.items()
    }


def _difference(columns: dict[str, list[float]], high: str, low: str) -> list[float]:
    return [round(a - b, 2) for a, b in zip(columns[high], columns[low], strict=True)]


if __name__ == "__main__":
    main()
