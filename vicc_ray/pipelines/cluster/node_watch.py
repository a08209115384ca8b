"""Watch for lost nodes: each is recorded, since Ray restarts the work that ran there without naming a reason."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError

from vicc_ray.runs.restart_log import RestartLog

POLL_INTERVAL_S = 2.0
"""Seconds between two looks at Ray's node table."""


def record_lost_nodes(restarts: RestartLog, over: threading.Event) -> None:
    """Loop for a background thread: record each node that is lost, until ``over`` is set."""
    known = {node["NodeID"] for node in _nodes() if not node["Alive"]}
    while not over.wait(POLL_INTERVAL_S):
        for node in _nodes():
            if not node["Alive"] and node["NodeID"] not in known:
                known.add(node["NodeID"])
                restarts.record_error(describe_node(node))


def describe_node(node: dict[str, Any]) -> str:
    """Description of a lost node by its row in ``ray.nodes()``, with the reason as far as Ray knows it."""
    reason = node.get("DeathReasonMessage") or "no reason known"
    return f"node {node['NodeManagerAddress']} ({node['NodeManagerHostname']}) was lost: {' '.join(reason.split())}"


def _nodes() -> list[dict[str, Any]]:
    with suppress(RayError, RuntimeError):  # Ray is shutting down
        return list(ray.nodes())
    return []
