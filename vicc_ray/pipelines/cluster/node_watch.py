"""Machines that go away while something runs: noted, since what they did is begun again without a word about why."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError

from vicc_ray.runs.restart_log import RestartLog

POLL_INTERVAL_S = 2.0
"""Seconds between looks at the cluster's machines."""


def record_lost_nodes(restarts: RestartLog, over: threading.Event) -> None:
    """Write a line for each machine that goes away, until the event is set."""
    known = {node["NodeID"] for node in _machines() if not node["Alive"]}
    while not over.wait(POLL_INTERVAL_S):
        for node in _machines():
            if not node["Alive"] and node["NodeID"] not in known:
                known.add(node["NodeID"])
                restarts.record_error(format_resources(node))


def format_resources(node: dict[str, Any]) -> str:
    """Which machine, by the entry of it in ``ray.nodes()``, and why as far as Ray knows."""
    why = node.get("DeathReasonMessage") or "no reason known"
    return f"machine {node['NodeManagerAddress']} ({node['NodeManagerHostname']}) is gone: {' '.join(why.split())}"


def _machines() -> list[dict[str, Any]]:
    with suppress(RayError, RuntimeError):  # Ray itself is going
        return list(ray.nodes())
    return []
