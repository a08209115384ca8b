"""What a sweep finds for a quarter of what trying everything costs, on the videos of the demo.

    python benchmarks/sweep.py OUT     # writes benchmarks/sweep.json

The grid is every combination of a few numbers of prototypes, temperatures and epsilons, each trained to its end. The
sweep searches the same values with TPE and successive halving, and is given fewer trials. Both are `vicc-ray
sweep`, with the same seed and the same stage 1, so a setting has the same R@1 in both, bit for bit, and what the sweep
found has a place in the grid's table. The noise is the standard deviation of R@1 on the held-out videos over seeds, of
the grid's best setting. Told are epochs of stage 2 and minutes of training, without the start of processes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import yaml
from measured import machine, vicc_ray

RESULT = Path(__file__).with_suffix(".json")
SEARCH = {
    "stage2.prototypes": {"choice": [6, 12, 32]},
    "stage2.temperature": {"choice": [0.05, 0.1, 0.3]},
    "stage2.epsilon": {"choice": [0.03, 0.08]},
}
EPOCHS, FIRST_EPOCHS, TRIALS = 10, 5, 6
"""R@1 of the demo leaves chance after some four epochs. Six trials, of which two go on after five, take 40 of 180."""
SEEDS = (1, 2)
COMMON: dict[str, Any] = {
    **{"recipe": "demo", "validation_share": 0.25, "search": SEARCH, "final": {"seeds": 0}, "concurrency": 2},
    "fixed": {
        **{"train.evaluate_epochs": FIRST_EPOCHS, "train.checkpoint_steps": 1000, "train.evaluate_videos": 1000},
        **{"schedule.rgb_epochs": 2, "schedule.flow_epochs": 10, "schedule.stage1_cosine_epochs": 10},
        **{"schedule.alternation_period": EPOCHS, "schedule.stage2_cosine_epochs": 0},
    },
}


def main() -> None:
    """Make the videos, the grid and the sweep, then the best setting with other seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--train", type=int, default=100, help="training videos of each of the eight classes")
    options = parser.parse_args()
    out: Path = options.out
    vicc_ray("make-videos", out / "videos", "--train", options.train, "--test", 2, "--quiet")
    vicc_ray("prepare", "demo", "--videos", out / "videos", "--store", out / "store", "--quiet")
    grid = sweep(out, "grid", sampler="grid", prune={"method": "none"}, budget={"epochs": EPOCHS})
    prune = {"method": "asha", "first_epochs": FIRST_EPOCHS, "factor": 3}
    found = sweep(out, "found", prune=prune, budget={"epochs": EPOCHS, "trials": TRIALS})
    result = compare(grid, found, [grid["best"]["recall_at_1"], *seeds(out, grid["best"]["values"])])
    RESULT.write_text(json.dumps({"machine": machine(), **result}, indent=1) + "\n")
    print(RESULT.read_text())


def sweep(out: Path, name: str, **settings: Any) -> dict[str, Any]:
    """The summary of one, called as a user does; a finished one is read."""
    file, folder = out / f"{name}.yaml", out / name
    file.write_text(yaml.safe_dump({**COMMON, "name": name, **settings}))
    if not (folder / "stage1").exists() and (out / "grid" / "stage1").exists():
        folder.mkdir(exist_ok=True)
        (folder / "stage1").symlink_to((out / "grid" / "stage1").resolve())
    begun = time.perf_counter()
    vicc_ray("sweep", file, "--store", out / "store", "--out", folder)
    found: dict[str, Any] = json.loads((folder / "sweep-summary.json").read_text())
    return {**found, "wall_minutes": round((time.perf_counter() - begun) / 60, 1)}


def seeds(out: Path, values: dict[str, Any]) -> list[float]:
    """R@1 of a setting with other seeds, each with a stage 1 of its own."""
    search = {key: {"choice": [value]} for key, value in values.items()}
    scores = []
    for seed in SEEDS:
        fixed = {**COMMON["fixed"], "seed": seed}
        again = sweep(
            out, f"seed-{seed}", search=search, fixed=fixed, sampler="grid", prune={"method": "none"},
            budget={"epochs": EPOCHS},
        )  # fmt: skip
        scores.append(again["best"]["recall_at_1"])
    return scores


def compare(grid: dict[str, Any], found: dict[str, Any], scores: list[float]) -> dict[str, Any]:
    """Both sides' best and costs."""
    table = sorted((trial["recall_at_1"] for trial in grid["trials"]), reverse=True)
    cost = {side: costs(trials) for side, trials in (("grid", grid["trials"]), ("sweep", found["trials"]))}
    chosen = found["best"]["recall_at_1"]
    return {
        "grid": {"trials": len(table), **cost["grid"], "best": grid["best"]["values"], "recall_at_1": table},
        "sweep": {
            **{"trials": len(found["trials"]), **cost["sweep"], "best": found["best"]["values"]},
            **{"recall_at_1": chosen, "place_in_grid": 1 + sum(score > chosen for score in table)},
            "pruned": sum(trial["state"] == "pruned" for trial in found["trials"]),
            "importances": found["importances"],
        },
        "noise": {"recall_at_1_of_seeds": scores, "deviation": round(statistics.stdev(scores), 4)},
        "short_of_the_best": round(table[0] - chosen, 4),
        "share_of_epochs": round(cost["sweep"]["epochs"] / cost["grid"]["epochs"], 3),
        "wall_minutes": {"grid": grid["wall_minutes"], "sweep": found["wall_minutes"]},
    }


def costs(trials: list[dict[str, Any]]) -> dict[str, float]:
    """Epochs of stage 2, and minutes of training."""
    return {
        "epochs": round(sum(trial["cost"]["epochs"] for trial in trials), 1),
        "minutes": round(sum(trial["cost"]["seconds"] for trial in trials) / 60, 1),
    }


if __name__ == "__main__":
    main()
