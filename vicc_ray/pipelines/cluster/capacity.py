"""Capacity of a cluster: resources of its nodes, and of those that its autoscaler may add."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from vicc_ray.config.yaml import read_yaml
from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster.ray_compat import autoscaler_groups, autoscaler_kinds, available_by_node

Resources = Mapping[str, float]
"""Amounts by name, as Ray has them: CPU, GPU, object_store_memory and custom resources."""
STORE = "object_store_memory"
NODE_GROUP = "ray.io/node-group"
"""Label of a node that a cluster launcher has started (`ray up`, KubeRay), which may start more."""
HEAD = "node:__internal_head__"
"""Resource of the head alone."""
BOOTSTRAP_FILE = Path("~/ray_bootstrap_config.yaml")
"""File that `ray up` leaves on the head: node types and their largest numbers."""
NO_CPUS_YET = "CPUs: the cluster has none yet; start Ray on nodes with CPUs"
NO_PLACEMENT_GROUP = "DEFAULT"
"""Explicit, since inside a Tune trial tasks would inherit its placement group and never be scheduled."""
RESOURCE_UNITS = 1e4
"""Ray counts resources in units of 1/10,000."""


@dataclass(frozen=True)
class ClusterCapacity:
    """Resources of all nodes of a cluster.

    Attributes:
        nodes: resources of each node.
        autoscales: whether there is an autoscaler.
        max_nodes: resources of each node at full size, current ones included, the head excluded; None if unknown.
    """

    nodes: tuple[Resources, ...]
    autoscales: bool = False
    max_nodes: tuple[Resources, ...] | None = None

    def total(self, name: str) -> float:
        """Sum over all nodes."""
        return sum(node.get(name, 0.0) for node in self.nodes)

    def largest(self, name: str, with_resources: Resources | None = None) -> float:
        """Largest amount on a node that also has ``with_resources``."""
        fit = (node.get(name, 0.0) for node in self.nodes if places(node, with_resources or {}))
        return max(fit, default=0.0)

    def places(self, bundle: Resources) -> int:
        """Number of bundles that fit at once on the empty cluster."""
        return sum(places(node, bundle) for node in self.nodes)

    def at_full_size(self) -> ClusterCapacity:
        """Capacity with all nodes that may be added; the same where none are known.

        A node decides itself how large its object store is: an unknown size counts as enough.
        """
        if not self.max_nodes:
            return self
        max_nodes = ({STORE: math.inf, **node} for node in self.max_nodes)
        return ClusterCapacity((*(node for node in self.nodes if HEAD in node), *max_nodes), self.autoscales)

    def ignoring_object_store(self) -> ClusterCapacity:
        """Capacity with unlimited object stores, to see what else is missing."""
        return replace(self, nodes=tuple({**node, STORE: math.inf} for node in self.nodes))


def places(node: Resources, bundle: Resources) -> int:
    """Number of bundles that fit on one node; 1 for an empty bundle. A fraction of a GPU is always of a single one."""
    fits = []
    for name, amount in bundle.items():
        total, units = node.get(name, 0.0), max(1, round(RESOURCE_UNITS * amount))
        if amount:
            shared = name == "GPU" and amount < 1
            fits.append(
                int(total) * int(RESOURCE_UNITS // units) if shared else int(round(RESOURCE_UNITS * total) // units)
            )
    return min(fits, default=1)


def task_shortage(bundle: Resources, cluster: ClusterCapacity) -> str:
    """Shortage for tasks that each take a bundle, "" if none."""
    if cluster.places(bundle):
        return ""
    if not cluster.total("CPU"):
        return NO_CPUS_YET
    return f"a task takes {format_resources(bundle)}, and no node has that; start Ray on nodes with whole CPUs"


def cluster_capacity() -> ClusterCapacity:
    """Current capacity of the cluster that this process is connected to."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    nodes = tuple(dict(node["Resources"]) for node in alive)
    if not any(NODE_GROUP in (node.get("Labels") or {}) for node in alive) and not _has_autoscaler():
        return ClusterCapacity(nodes)
    return ClusterCapacity(nodes, True, _reported() or _of_launch_file())


def has_free(bundle: Resources) -> bool:
    """Whether one node has these resources free."""
    return any(places(node, bundle) for node in available_by_node())


def format_resources(amounts: Resources) -> str:
    """``CPU 0.5, GPU 1``"""
    return ", ".join(f"{name} {amount:g}" for name, amount in amounts.items() if amount)


def format_available(bundle: Resources) -> str:
    """``CPU 0 of 2, GPU 1 of 1``: free and total amounts of the resources of a bundle."""
    total, free = ray.cluster_resources(), ray.available_resources()
    return ", ".join(f"{name} {free.get(name, 0.0):g} of {total.get(name, 0.0):g}" for name in bundle if bundle[name])


def _has_autoscaler() -> bool:
    """Whether an autoscaler that was started by hand reports node types; without one, each node is its own type."""
    return any(not kind.startswith("node_") for kind in autoscaler_kinds())


def _reported() -> tuple[Resources, ...] | None:
    """Nodes that an autoscaler has registered with Ray; that of `ray up` registers none."""
    with suppress(RayError, RuntimeError):
        groups = autoscaler_groups()
        if groups and all(resources and count >= 0 for resources, count in groups):
            return tuple(resources for resources, count in groups for _ in range(count))
    return None


def _of_launch_file() -> tuple[Resources, ...] | None:
    """Nodes by the launch file of `ray up`, which is on the head; None elsewhere."""
    file = BOOTSTRAP_FILE.expanduser()
    with suppress(OSError, UserError, LookupError, TypeError, ValueError, AttributeError):
        return launchable_nodes(read_yaml(file, str(file)))
    return None


def launchable_nodes(launch_file: Any) -> tuple[Resources, ...] | None:
    """Nodes that a launch file allows at once; None if it does not state their resources.

    The limit on their sum is ignored: the autoscaler chooses which of them it starts.
    """
    nodes: list[Resources] = []
    limit = launch_file.get("max_workers", 2)
    for name, kind in launch_file["available_node_types"].items():
        most = 0 if name == launch_file.get("head_node_type") else min(limit, kind.get("max_workers", limit))
        resources = {resource: float(amount) for resource, amount in (kind.get("resources") or {}).items()}
        if most and "CPU" not in resources:
            return None
        nodes += [resources] * most
    return tuple(nodes)
