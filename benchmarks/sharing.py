"""Fair sharing: four concurrent trials of a sweep on four nodes, of which one is lost.

    python benchmarks/sharing.py OUT     # writes benchmarks/sharing.json

The nodes are fake ones on this machine (a raylet with two CPUs each), so the benchmark measures the allocation of CPUs
and not speed. The trials differ only in the learning rate. While all four train, the steps of each are counted; then a
node is killed with all its processes, and another joins. Checked: each trial takes at least half of the steps of the
fastest, and at the end every trial is complete; none is lost, restarted from the beginning or duplicated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from measured import machine, vicc_ray, wait_until

sys.path.append(str(Path(__file__).parents[1]))  # fake nodes and settings are the tests'

from tests.fake_cluster import fake_cluster
from tests.pipelines.runs import settings
from vicc_ray.config.loader import dump_config
from vicc_ray.sweep.sweep_dir import SweepDir
from vicc_ray.utils.jsonl import read_lines
from vicc_ray.video.synthetic.generate import Scene, make_videos

RESULT = Path(__file__).with_suffix(".json")
TRIALS, CPUS = 4, 2
COUNTED_S, TIMEOUT_S = 30.0, 600.0
MIN_FRACTION = 0.5


def main() -> int:
    """Run the sweep, count steps, kill a node, and check the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=200, help="of four steps each; enough to outlast the events")
    options = parser.parse_args()
    out = options.out.resolve()
    file, folder = prepare(out, options.epochs), SweepDir(out / "sweep")
    command = [sys.executable, "-m", "vicc_ray", "sweep", str(file), "--store", str(out / "store"), "--quiet"]
    with fake_cluster() as cluster:
        for number in range(TRIALS):
            cluster.add(f"machine {number}", CPUS)
        start = time.monotonic()
        with subprocess.Popen([*command, "--out", str(folder.path)], env=cluster.environment) as process:
            try:
                wait_until("all trials train", lambda: min(steps(folder)) > 0, process, TIMEOUT_S)
                all_train = time.monotonic() - start
                step_counts = count(folder, process)
                cluster.kill("machine 0")
                cluster.add("machine 4", CPUS)
                if process.wait() != 0:
                    raise RuntimeError(f"the sweep ended with {process.returncode}")
            finally:
                process.kill()
    result = {"machine": machine(), "all_train_s": round(all_train, 1), **summarize(folder, step_counts)}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(RESULT.read_text())
    return 0 if result["slowest_of_fastest"] >= MIN_FRACTION and result["as_it_should"] else 1


def prepare(out: Path, epochs: int) -> Path:
    """Write videos, their store and the sweep file."""
    recipe, file = out / "recipe.yaml", out / "sweep.yaml"
    make_videos(out / "videos", classes=2, train=8, test=2, scene=Scene(side=32, frames=12))
    schedule = {"rgb_epochs": 1, "flow_epochs": 1, "stage1_cosine_epochs": 1, "cycles": 1, "final_flow_phase": False}
    recipe.write_text(
        dump_config(settings(schedule=schedule, train={"global_batch_size": 4, "checkpoint_every_steps": 20}))
    )
    vicc_ray("prepare", recipe, "--videos", out / "videos", "--store", out / "store", "--quiet")
    content = {
        **{"name": "sharing", "recipe": str(recipe), "sampler": "grid", "validation_fraction": 0.25},
        **{"search_space": {"stage2.learning_rate": {"choices": [0.01, 0.02, 0.03, 0.04]}}},
        "overrides": {
            **{"schedule.epochs_per_phase": epochs, "schedule.stage2_cosine_epochs": 0},
            **{"train.validate_every_epochs": epochs},
        },
        **{
            "budget": {"epochs": epochs},
            "prune": {"method": "none"},
            "final_eval": {"num_seeds": 0},
            "max_concurrent_trials": TRIALS,
        },
    }
    file.write_text(yaml.safe_dump(content))
    return file


def steps(folder: SweepDir) -> list[int]:
    """Recorded steps of each trial."""
    return [len(read_lines(folder.trial(number).run.metrics_file)) for number in range(TRIALS)]


def count(folder: SweepDir, process: subprocess.Popen[bytes]) -> list[int]:
    """Steps of each trial in the same time."""
    before, end = steps(folder), time.monotonic() + COUNTED_S
    wait_until("the end of the count", lambda: time.monotonic() > end, process, TIMEOUT_S)
    return [after - first for after, first in zip(steps(folder), before, strict=True)]


def summarize(folder: SweepDir, step_counts: list[int]) -> dict[str, Any]:
    """Fairness, fraction of data wait, and outcome of the trials."""
    runs = [folder.trial(number).run for number in range(TRIALS)]
    waits = []
    for run in runs:
        lines = read_lines(run.metrics_file)
        waits.append(
            sum(line["data_ms"] for line in lines) / sum(line["data_ms"] + line["compute_ms"] for line in lines)
        )
    trials = [folder.trial(number).read() for number in range(TRIALS)]
    start_steps = [[line["step"] for line in read_lines(run.restarts.file) if "step" in line] for run in runs]
    numbers = [[line["step"] for line in read_lines(run.metrics_file)] for run in runs]
    return {
        **{"steps_in_the_same_time": step_counts, "slowest_of_fastest": round(min(step_counts) / max(step_counts), 3)},
        **{"data_wait_share": [round(share, 3) for share in waits], "begun_at_steps": start_steps},
        **{"states": [trial.state for trial in trials], "in_the_folder": len(list(runs[0].path.parents[1].iterdir()))},
        "as_it_should": (
            all(trial.state == "complete" for trial in trials)
            and all(steps.count(0) == 1 for steps in start_steps)
            # The first step follows the steps of the shared stage 1.
            and all(steps == list(range(numbers[0][0], numbers[0][-1] + 1)) for steps in numbers)
        ),
    }


if __name__ == "__main__":
    sys.exit(main())
