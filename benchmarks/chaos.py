"""Chaos test: 30 seeded SIGKILLs of workers, controllers, drivers and nodes during one pretraining run.

    python benchmarks/chaos.py OUT      # writes benchmarks/chaos.json

The cluster has two fake nodes on this machine, each with a training worker. A reference run passes through all kinds of
phases (both streams alone, then alternating). A second run with the same settings is disturbed:

  worker      one of the two training processes is killed
  controller  Ray Train's controller, which monitors the workers, is killed
  driver      the command itself is killed, and started again at once
  machine     a node is killed with all its processes, and a new one joins

Moments are drawn uniformly over the steps, so that some fall into the recovery from the previous kill. At the end the
metrics of every step must be bit-identical, and nothing may be left behind: processes, placement groups, temporary
files, or checkpoints beyond ``train.keep_last``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import ray  # noqa: F401 - puts its bundled psutil on sys.path
from measured import machine, vicc_ray

# isort: split
import psutil

sys.path.append(str(Path(__file__).parents[1]))  # the fake cluster is the tests'

from tests.fake_cluster import FakeCluster, fake_cluster
from vicc_ray.config import Config
from vicc_ray.config.loader import dump_config
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.utils.jsonl import read_lines
from vicc_ray.video.synthetic.generate import Scene, make_videos

RESULT = Path(__file__).with_suffix(".json")
KINDS = {"worker": 9, "controller": 7, "driver": 7, "machine": 7}
NAMES = {"worker": "ray::RayTrainWorker", "controller": "ray::TrainController"}
CPUS = 2
PROGRESS_TIMEOUT_S = 300
"""Time within which a run must complete a step after a kill."""
TIMINGS = ("data_ms", "compute_ms", "samples_per_s")
"""Metrics of a step that depend on the machine."""
CONFIG = Config.model_validate(
    {
        "prepare": {"short_side": 32, "videos_per_shard": 4},
        "clip": {"frames": 8, "size": 32},
        "model": {"backbone": "tiny", "embed_dim": 16},
        "method": {"num_prototypes": 4, "queue_size": 8, "queue_start_epoch": 2, "freeze_prototypes_epochs": 1},
        "schedule": {
            **{"rgb_epochs": 20, "flow_epochs": 20, "stage1_cosine_epochs": 20, "cycles": 2},
            **{"epochs_per_phase": 10, "stage2_cosine_epochs": 10, "final_flow_phase": True},
        },
        "optimizer": {"name": "lars", "learning_rate": 0.05, "min_lr": 0.01},
        "train": {
            **{
                "global_batch_size": 4,
                "num_workers": 2,
                "cpus_per_worker": 1,
                "checkpoint_every_steps": 5,
                "validate_every_epochs": 10,
            },
            **{"deterministic": True, "log_sample_ids": True, "trackers": []},
        },
        "evaluate": {"max_windows_per_video": 2},
        "ray": {"object_store_mb": 120},
    }
)


def main() -> None:
    """Train twice, compare, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    reference, disturbed = (RunDir(options.out / name) for name in ("undisturbed", "disturbed"))
    if reference.path.exists() or disturbed.path.exists():
        sys.exit(f"{options.out}: holds runs of an earlier benchmark; give an empty folder")
    prepare(options.out)
    with fake_cluster() as cluster:
        machines = Machines(cluster)
        reference_s = timed(lambda: Run(options.out, reference, cluster).end())
        chaos = Chaos(Run(options.out, disturbed, cluster), machines, np.random.default_rng(options.seed))
        disturbed_s = timed(chaos.run_with_kills)
        left = left_behind(disturbed, machines)
    result = {
        **{"machine": machine(), "seed": options.seed, "steps": len(read_lines(reference.metrics_file))},
        **{"seconds_undisturbed": reference_s, "seconds_disturbed": disturbed_s, "kills": len(chaos.kills)},
        **{"of_each_kind": Counter(kill["kind"] for kill in chaos.kills), "steps_made_again": chaos.repeated_steps},
        **{"differing_steps": differing(reference, disturbed), "evaluations": evaluations(reference, disturbed)},
        **{"left_behind": left, "moments": chaos.kills},
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(RESULT.read_text())
    if result["differing_steps"] or any(left.values()):
        sys.exit("the runs differ, or something was left behind")


def timed(call: Any) -> float:
    """Seconds that a call takes."""
    start = time.monotonic()
    call()
    return round(time.monotonic() - start, 1)


def prepare(out: Path) -> None:
    """Write 16 training videos, 4 test videos, the recipe and the clip store."""
    make_videos(out / "videos", classes=2, train=8, test=2, scene=Scene(side=32, frames=12))
    (out / "recipe.yaml").write_text(dump_config(CONFIG))
    vicc_ray("prepare", out / "recipe.yaml", "--videos", out / "videos", "--store", out / "store", "--quiet")


class Machines:
    """The cluster's nodes, two at any time."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster, self.count = cluster, 0
        self.names: list[str] = []
        for _ in range(2):
            self.join()

    def join(self) -> None:
        """Add a node."""
        self.names.append(f"machine {self.count}")
        self.count += 1
        self.cluster.add(self.names[-1], CPUS)

    def lose(self, which: int) -> None:
        """Kill a node, and add another."""
        self.cluster.kill(self.names.pop(which))
        self.join()

    def processes(self, name: str) -> list[psutil.Process]:
        """Processes of the cluster with a name, of which Linux keeps fifteen characters."""
        processes = []
        for process in psutil.Process(self.cluster.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if process.name().startswith(name[:15]) and process.status() != psutil.STATUS_ZOMBIE:
                    processes.append(process)
        return sorted(processes, key=lambda process: process.pid)


class Run:
    """`vicc-ray pretrain`, which can be started again after a kill."""

    def __init__(self, out: Path, folder: RunDir, cluster: FakeCluster) -> None:
        self.folder, self.environment = folder, cluster.environment
        self.command = [sys.executable, "-m", "vicc_ray", "pretrain", str(out / "recipe.yaml"), "--quiet"]
        self.command += ["--store", str(out / "store"), "--run", str(folder.path)]
        self.start()

    def start(self) -> None:
        """Start the command."""
        self.process = subprocess.Popen(self.command, env=self.environment)

    def end(self) -> None:
        """Wait for the exit, which must be a success."""
        if self.process.wait():
            raise RuntimeError(f"the run ended with {self.process.returncode}")

    @property
    def step(self) -> int:
        """Number of recorded steps."""
        lines = read_lines(self.folder.metrics_file)
        return int(lines[-1]["step"]) if lines else 0


class Chaos:
    """Kills during a run, on its cluster."""

    def __init__(self, run: Run, machines: Machines, rng: np.random.Generator) -> None:
        self.run, self.machines, self.rng = run, machines, rng
        self.kills: list[dict[str, Any]] = []
        self.repeated_steps = 0

    def run_with_kills(self) -> None:
        """Kill at the drawn moments, then let the run complete."""
        steps = 4 * (CONFIG.schedule.rgb_epochs + CONFIG.schedule.flow_epochs + 4 * CONFIG.schedule.epochs_per_phase)
        kinds = self.rng.permutation([kind for kind, count in KINDS.items() for _ in range(count)])
        moments = np.sort(self.rng.integers(0, int(0.95 * steps), len(kinds)))
        for kind, moment in zip(kinds, moments, strict=True):
            self._wait_for(int(moment))
            at = self.run.step
            self._kill(str(kind))
            self.repeated_steps += max(0, at - self.run.folder.step)
            self.kills.append({"kind": str(kind), "drawn": int(moment), "step": at})
            print(self.kills[-1], flush=True)
        self.run.end()

    def _wait_for(self, moment: int) -> None:
        """Wait until the run has recorded a step."""
        end, step = time.monotonic() + PROGRESS_TIMEOUT_S, self.run.step
        while step < moment:
            if self.run.process.poll() is not None:  # not killed by this script
                raise RuntimeError(f"the run exited by itself with {self.run.process.returncode}")
            if self.run.step != step:
                step, end = self.run.step, time.monotonic() + PROGRESS_TIMEOUT_S
            if time.monotonic() > end:
                raise RuntimeError(f"the run makes no progress after {self.kills[-1:]}")
            time.sleep(0.02)

    def _kill(self, kind: str) -> None:
        if kind == "driver":
            self.run.process.kill()
            self.run.process.wait()
            self.run.start()
        elif kind == "machine":
            self.machines.lose(int(self.rng.integers(len(self.machines.names))))
        else:
            while not self._killed(NAMES[kind]):  # it may still be starting after the previous kill
                time.sleep(0.02)

    def _killed(self, name: str) -> bool:
        processes = self.machines.processes(name)
        with suppress(psutil.NoSuchProcess):
            if processes:
                processes[self.rng.integers(len(processes))].kill()
                return True
        return False


def left_behind(folder: RunDir, machines: Machines) -> dict[str, list[str]]:
    """What the run has left in the cluster, after up to a minute, and on the disk."""
    end = time.monotonic() + 60
    while time.monotonic() < end and (busy := machines.processes("ray::RayTrain") + machines.processes("ray::TrainCo")):
        time.sleep(0.5)
    kept = sorted(path.name for path in folder.checkpoints.path.glob("step-*"))
    return {
        "processes": [process.name() for process in busy],
        "placement_groups": [state for state in machines.cluster.placement_groups() if state != "REMOVED"],
        "temporary_files": sorted(path.name for path in folder.path.rglob("*.part")),
        "checkpoints": kept[: -CONFIG.train.keep_last],
    }


def differing(reference: RunDir, disturbed: RunDir) -> list[int]:
    """Steps whose metrics or videos are not bit-identical."""
    different = set()
    for name in ("metrics_file", "samples_file"):
        one, other = (
            {line["step"]: _computed(line) for line in read_lines(getattr(run, name))} for run in (reference, disturbed)
        )
        different |= {step for step in {*one, *other} if one.get(step) != other.get(step)}
        different |= {0} if len(one) != len(read_lines(getattr(disturbed, name))) else set()
    return sorted(different)


def evaluations(reference: RunDir, disturbed: RunDir) -> dict[str, int]:
    """Number of validated checkpoints of each run, and of those whose scores differ."""
    one, other = (
        {line["checkpoint"]: line["recall_at_1"] for line in read_lines(run.validation_file)}
        for run in (reference, disturbed)
    )
    differing = sum(one[name] != other[name] for name in {*one} & {*other})
    return {"undisturbed": len(one), "disturbed": len(other), "differing": differing}


def _computed(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name not in TIMINGS}


if __name__ == "__main__":
    main()
