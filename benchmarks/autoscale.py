"""Autoscaling: a pretraining run and a sweep on a cluster whose nodes are started by Ray's autoscaler on request.

    python benchmarks/autoscale.py OUT     # writes benchmarks/autoscale.json

The nodes are Ray's fake ones: each is a raylet on this machine, started and stopped by the autoscaler of `ray up`.
The head has no CPUs; there are zero to two worker nodes of two CPUs.

  1. A pretraining run with `num_workers: {min: 1, max: 2}` waits for a node, trains, and grows with the second node.
  2. One node is killed (-9): the run shrinks. The autoscaler replaces the node: the run grows again, and completes.
  3. A sweep of two trials gets its nodes, and completes.
  4. All nodes are removed.

The losses of the pretraining run must equal those of a single process within 1e-4.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import ray  # puts its bundled psutil on sys.path
import yaml
from measured import began, free_port, machine, wait_until

# isort: split
import psutil

sys.path.append(str(Path(__file__).parents[1]))  # the small runs are the tests'

from tests.pipelines.runs import losses, reference_losses, rgb_only, settings
from tests.pipelines.sweeps import sweep_file
from vicc_ray.config.loader import dump_config
from vicc_ray.pipelines.prepare.pipeline import prepare
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.utils.jsonl import read_lines
from vicc_ray.video.synthetic.generate import Scene, make_videos

RESULT = Path(__file__).with_suffix(".json")
TIMEOUT_S = 400.0
IDLE_MINUTES = 0.25
NODE = "RAY_CLOUD_INSTANCE_ID"
"""Environment variable of a node's processes with its name; unset on the head."""


def main() -> int:
    """Start the head, run all four steps, and write the timeline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=800, help="of four steps each; enough to outlast the events")
    options = parser.parse_args()
    out = options.out.resolve()
    if not (out / "store" / "store.json").exists():
        make_videos(out / "videos", classes=2, train=8, test=2, scene=Scene(side=32, frames=12))
        prepare(out / "videos", out / "store", settings(), progress=False)
        ray.shutdown()
    with head(out) as cluster:
        result = cluster.run(options.epochs)
    RESULT.write_text(json.dumps({"machine": machine(), **result}, indent=1) + "\n")
    print(RESULT.read_text())
    return 0 if result["largest_difference"] <= 1e-4 else 1


class Cluster:
    """Cluster of a head and the nodes that its autoscaler starts."""

    def __init__(self, out: Path, process: psutil.Popen, environment: dict[str, str]) -> None:
        self.out, self.process, self.environment = out, process, environment
        self.start = time.monotonic()
        self.timeline: list[dict[str, Any]] = []

    def run(self, epochs: int) -> dict[str, Any]:
        """Run all four steps."""
        workers = self.pretrain(epochs)
        measured = losses(self.out / "run")
        reference = list(reference_losses(rgb_only(epochs), self.out / "store"))
        pairs = zip(measured, reference, strict=True)
        self.sweep()
        self.until("no machine is left", lambda: not self.machines())
        return {
            **{"workers": workers, "steps": len(measured), "timeline": self.timeline},
            "largest_difference": max(abs(a - b) / abs(b) for a, b in pairs),
        }

    def pretrain(self, epochs: int) -> list[int]:
        """Train with elastic workers; return the sequence of worker counts."""
        folder, recipe = RunDir(self.out / "run"), self.out / "recipe.yaml"
        recipe.write_text(
            dump_config(
                rgb_only(
                    epochs, num_workers={"min": 1, "max": 2}, elastic_resize_interval_s=2.0, checkpoint_every_steps=20
                )
            )
        )

        with self.command("pretrain", recipe, "--store", self.out / "store", "--run", folder.path) as process:
            self.until("one worker trains", lambda: began(folder, 1), process)
            self.until("two workers train", lambda: began(folder, 1, 2), process)
            self.machines()[0].kill()
            self.note("a machine was killed")
            self.until("one worker trains", lambda: began(folder, 2, 1), process)
            self.until("two workers train", lambda: began(folder, 2, 1, 2), process)
            if process.wait() != 0:
                raise RuntimeError(f"vicc-ray pretrain ended with {process.returncode}")
        self.note("the pretraining has ended")
        return [count for count, _ in groupby(line["workers"] for line in read_lines(folder.metrics_file))]

    def sweep(self) -> None:
        """Run a sweep of two trials, of which the first diverges as intended."""
        self.until("no machine is left", lambda: not self.machines())
        file = sweep_file(self.out, final_eval={"num_seeds": 0})
        with self.command("sweep", file, "--store", self.out / "store", "--out", self.out / "sweep") as process:
            self.until("the sweep has a machine", lambda: bool(self.machines()), process)
            if process.wait() != 0:
                raise RuntimeError(f"vicc-ray sweep ended with {process.returncode}")
        self.note("the sweep has ended")

    def machines(self) -> list[psutil.Process]:
        """Raylets of all nodes but the head."""
        raylets = []
        for process in self.process.children(recursive=True):
            try:
                if process.name() == "raylet" and process.environ().get(NODE):
                    raylets.append(process)
            except psutil.Error:  # the process is exiting
                continue
        return raylets

    def until(self, what: str, condition: Callable[[], bool], process: psutil.Popen | None = None) -> None:
        """Wait for a condition and note it in the timeline.

        Raises:
            RuntimeError: the timeout passed, or the process exited first.
        """
        wait_until(what, condition, process, TIMEOUT_S)
        self.note(what)

    def note(self, what: str) -> None:
        """Add an entry to the timeline."""
        entry = {"s": round(time.monotonic() - self.start, 1), "what": what, "machines": len(self.machines())}
        self.timeline.append(entry)
        print(entry, flush=True)

    @contextmanager
    def command(self, *arguments: object) -> Iterator[psutil.Popen]:
        """Run ``vicc-ray`` on the cluster; killed at the end of the block."""
        command = [sys.executable, "-m", "vicc_ray", *map(str, arguments)]
        with psutil.Popen(command, env=self.environment) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()


@contextmanager
def head(out: Path) -> Iterator[Cluster]:
    """Run a cluster while the block runs."""
    address = f"127.0.0.1:{free_port()}"
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    scaling = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_enable_autoscaler_v2": "0"}
    # A lost node is detected after a few seconds instead of half a minute.
    health_checks = {"RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "3"}
    environment = {**kept, **secret, "RAY_TMPDIR": str(out / "ray")}
    (out / "ray").mkdir(parents=True, exist_ok=True)
    file = out / "cluster.yaml"
    file.write_text(yaml.safe_dump(autoscaling(address)))
    start = ["--head", "--block", "--num-cpus=0", "--object-store-memory=120000000", f"--port={address.split(':')[1]}"]
    ports = [f"--dashboard-port={free_port()}", f"--dashboard-agent-listen-port={free_port()}"]
    program = [sys.executable, "-m", "ray.scripts.scripts", "start", *start, *ports, f"--autoscaling-config={file}"]
    head_environment = {**environment, **scaling, **health_checks, "PYTHONPATH": str(Path(__file__).parent)}
    with (
        (out / "head.log").open("w") as log,
        psutil.Popen(program, env=head_environment, stdout=log, stderr=log) as process,
    ):
        try:
            end = time.monotonic() + TIMEOUT_S
            while socket.socket().connect_ex(("127.0.0.1", int(address.split(":")[1]))):
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError((out / "head.log").read_text())
                time.sleep(0.1)
            yield Cluster(out, process, {**environment, "RAY_ADDRESS": address})
        finally:
            for child in [*process.children(recursive=True), process]:
                child.kill()  # `ray stop` would kill unrelated clusters too


def autoscaling(address: str) -> dict[str, Any]:
    """Autoscaling config that `ray up` would put on the head."""
    fake = {"use_node_id_as_ip": True, "disable_node_updaters": True, "disable_launch_config_check": True}
    kinds = {
        "ray.head.default": {"resources": {}, "node_config": {}, "max_workers": 0},
        "worker": {
            **{"resources": {"CPU": 2, "object_store_memory": 120_000_000}, "node_config": {}},
            **{"min_workers": 0, "max_workers": 2},
        },
    }
    setup = ("head_setup_commands", "worker_setup_commands", "setup_commands", "initialization_commands")
    start = ("head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude")
    return {
        **{"cluster_name": "fake", "max_workers": 2, "idle_timeout_minutes": IDLE_MINUTES, "upscaling_speed": 1.0},
        "provider": {"type": "external", "module": "fake_provider.Provider", "gcs_address": address, **fake},
        **{"auth": {}, "docker": {}},
        **{"available_node_types": kinds, "head_node_type": "ray.head.default", "file_mounts": {}},
        **{name: [] for name in (*setup, *start, "rsync_filter")},
        "file_mounts_sync_continuously": False,
    }


if __name__ == "__main__":
    sys.exit(main())
