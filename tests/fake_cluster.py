"""Ray cluster of fake nodes in a separate process, controlled by lines on its standard input.

Ray's own test cluster wants its process to itself: it must be driven from the main thread and reads the authentication
mode once. Each node is a raylet with its own CPUs and object store.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ENVIRONMENT = {
    **{"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"},
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "1",  # off in a process that starts Ray itself, as the tests do
}
OBJECT_STORE = 120 * 2**20


class FakeCluster:
    """Client of the cluster process; nodes have names."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid
        self.address = str(self._answer())

    @property
    def environment(self) -> dict[str, str]:
        """Environment of a process that connects to the cluster."""
        return {**os.environ, **ENVIRONMENT, "RAY_ADDRESS": self.address}

    def add(self, name: str, cpus: float, home: Path | None = None) -> None:
        """Add a node; ``home`` is the home folder of its processes, by default this one's."""
        self._ask("add", name, cpus, _environment(home))

    def kill(self, name: str) -> None:
        """Kill a node with all its processes."""
        self._ask("kill", name)

    def drain(self, name: str, seconds: float) -> None:
        """Announce the preemption of a node."""
        self._ask("drain", name, seconds)

    def placement_groups(self) -> list[str]:
        """States of all placement groups."""
        return list(self._ask("placement_groups"))

    def _ask(self, *command: Any) -> Any:
        assert self._process.stdin
        print(json.dumps(command), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        while line and not line.startswith("="):
            line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the fake cluster has ended")
        return json.loads(line[1:])


@contextmanager
def fake_cluster(head_cpus: float = 0, home: Path | None = None) -> Iterator[FakeCluster]:
    """Cluster of a head only, ``home`` as in :meth:`FakeCluster.add`; shut down at the end of the block."""
    command = [sys.executable, "-m", "tests.fake_cluster", str(head_cpus), json.dumps(_environment(home))]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **ENVIRONMENT},
        cwd=Path(__file__).parents[1],
    ) as process:
        try:
            yield FakeCluster(process)
        finally:
            assert process.stdin
            process.stdin.close()
            process.wait(timeout=60)


def _environment(home: Path | None) -> dict[str, str]:
    return {} if home is None else {"HOME": str(home)}


def _serve(head_cpus: float, head_environment: dict[str, str]) -> None:
    from ray.cluster_utils import Cluster

    from vicc_ray.pipelines.cluster.ray_compat import find

    # A lost node is detected after a few seconds instead of half a minute.
    settings = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": head_cpus,
            "object_store_memory": OBJECT_STORE,
            "_system_config": settings,
            "env_vars": head_environment,
        },
    )
    machines = {}
    _say(cluster.address)
    for line in sys.stdin:
        what, *rest = json.loads(line)
        answer: Any = True
        if what == "add":
            machines[rest[0]] = cluster.add_node(num_cpus=rest[1], object_store_memory=OBJECT_STORE, env_vars=rest[2])
            cluster.wait_for_nodes()
        elif what == "kill":
            cluster.remove_node(machines.pop(rest[0]), allow_graceful=False)
        elif what == "drain":
            until = int(1000 * (time.time() + rest[1]))
            client = find("ray._raylet", "GcsClient")(address=cluster.address)
            client.drain_node(machines[rest[0]].node_id, 2, "taken away", until)
        elif what == "placement_groups":
            answer = _placement_groups(cluster.address)
        _say(answer)
    cluster.shutdown()


def _placement_groups(address: str) -> list[str]:
    import ray
    from ray.util import placement_group_table

    ray.init(address=address, log_to_driver=False)
    try:
        return [group["state"] for group in placement_group_table().values()]
    finally:
        ray.shutdown()


def _say(answer: Any) -> None:
    print("=" + json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve(float(sys.argv[1]), json.loads(sys.argv[2]))
