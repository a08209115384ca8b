"""What the machines of a cluster have and what its autoscaler may bring: whether something can ever be placed there."""

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
"""Amounts by name, as Ray has them: CPU, GPU, object_store_memory, and what a user has named."""
STORE = "object_store_memory"
NODE_GROUP = "ray.io/node-group"
"""Label of a machine that a launcher has begun (`ray up`, KubeRay), which may begin more."""
HEAD = "node:__internal_head__"
"""Resource of the head alone."""
BOOTSTRAP_FILE = Path("~/ray_bootstrap_config.yaml")
"""What `ray up` leaves on the head: the kinds of machines, and how many there may be."""
NO_CPUS_YET = "CPUs: there are none yet; start Ray on machines that have some"
NO_PLACEMENT_GROUP = "DEFAULT"
"""Said aloud, since within a trial of Ray Tune tasks else look for CPUs in what the worker itself holds, for ever."""
RESOURCE_UNITS = 1e4
"""Ray counts in ten-thousandths."""


@dataclass(frozen=True)
class ClusterCapacity:
    """All machines of a cluster.

    Attributes:
        machines: resources of each that is there.
        grows: whether there is an autoscaler.
        coming: resources of each that it may have at once, those that are there included, the head not; None where
            that cannot be known.
    """

    nodes: tuple[Resources, ...]
    autoscales: bool = False
    max_nodes: tuple[Resources, ...] | None = None

    def total(self, name: str) -> float:
        """Of all machines."""
        return sum(node.get(name, 0.0) for node in self.nodes)

    def largest(self, name: str, background_thread: Resources | None = None) -> float:
        """Of the machine that has most of it, among those that have what is asked for beside it."""
        fit = (node.get(name, 0.0) for node in self.nodes if places(node, background_thread or {}))
        return max(fit, default=0.0)

    def places(self, bundle: Resources) -> int:
        """How many of them can be placed at once where nothing else is."""
        return sum(places(node, bundle) for node in self.nodes)

    def at_full_size(self) -> ClusterCapacity:
        """With all that may come; the same where nothing comes or nothing is known of it.

        How large an object store is a machine itself decides as it begins: one that is not said is taken for enough.
        """
        if not self.max_nodes:
            return self
        max_nodes = ({STORE: math.inf, **node} for node in self.max_nodes)
        return ClusterCapacity((*(node for node in self.nodes if HEAD in node), *max_nodes), self.autoscales)

    def ignoring_object_store(self) -> ClusterCapacity:
        """The same machines with object stores that are enough for all: what else is missing?"""
        return replace(self, nodes=tuple({**node, STORE: math.inf} for node in self.nodes))


def places(node: Resources, bundle: Resources) -> int:
    """How many of a bundle one machine can hold; of an empty one, one. A share of a GPU is always of a single one."""
    fits = []
    for name, asked in bundle.items():
        there, units = node.get(name, 0.0), max(1, round(RESOURCE_UNITS * asked))
        if asked:
            shared = name == "GPU" and asked < 1
            fits.append(
                int(there) * int(RESOURCE_UNITS // units) if shared else int(round(RESOURCE_UNITS * there) // units)
            )
    return min(fits, default=1)


def task_shortage(bundle: Resources, there: ClusterCapacity) -> str:
    """What the machines have too little of for tasks that each take a bundle, "" if nothing."""
    if there.places(bundle):
        return ""
    if not there.total("CPU"):
        return NO_CPUS_YET
    return f"a task takes {format_resources(bundle)}, and no machine has that; start Ray on machines with whole CPUs"


def cluster_capacity() -> ClusterCapacity:
    """Of the cluster that this process is connected to, now."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    nodes = tuple(dict(node["Resources"]) for node in alive)
    if not any(NODE_GROUP in (node.get("Labels") or {}) for node in alive) and not _has_autoscaler():
        return ClusterCapacity(nodes)
    return ClusterCapacity(nodes, True, _reported() or _of_launch_file())


def has_free(bundle: Resources) -> bool:
    """Whether one machine has so much that nobody holds."""
    return any(places(node, bundle) for node in available_by_node())


def format_resources(amounts: Resources) -> str:
    """``CPU 0.5, GPU 1``"""
    return ", ".join(f"{name} {amount:g}" for name, amount in amounts.items() if amount)


def format_available(bundle: Resources) -> str:
    """``CPU 0 of 2, GPU 1 of 1``: what nobody holds, and what there is, of all that a bundle asks for."""
    there, free = ray.cluster_resources(), ray.available_resources()
    return ", ".join(f"{name} {free.get(name, 0.0):g} of {there.get(name, 0.0):g}" for name in bundle if bundle[name])


def _has_autoscaler() -> bool:
    """Whether one that was begun by hand tells of itself; in a cluster without, each machine is a kind of its own."""
    return any(not kind.startswith("node_") for kind in autoscaler_kinds())


def _reported() -> tuple[Resources, ...] | None:
    """What may come, as an autoscaler has told Ray; that of `ray up` tells nothing."""
    with suppress(RayError, RuntimeError):
        groups = autoscaler_groups()
        if groups and all(resources and count >= 0 for resources, count in groups):
            return tuple(resources for resources, count in groups for _ in range(count))
    return None


def _of_launch_file() -> tuple[Resources, ...] | None:
    """What may come, as the file of `ray up` says on the head; None on other machines."""
    file = BOOTSTRAP_FILE.expanduser()
    with suppress(OSError, UserError, LookupError, TypeError, ValueError, AttributeError):
        return may_come(read_yaml(file, str(file)))
    return None


def may_come(launch_file: Any) -> tuple[Resources, ...] | None:
    """Machines that a launch file allows at once; None if it does not say what one has.

    The limit for all of them together is not looked at: which of them come is the autoscaler's choice.
    """
    found: list[Resources] = []
    limit = launch_file.get("max_workers", 2)
    for name, kind in launch_file["available_node_types"].items():
        most = 0 if name == launch_file.get("head_node_type") else min(limit, kind.get("max_workers", limit))
        resources = {resource: float(amount) for resource, amount in (kind.get("resources") or {}).items()}
        if most and "CPU" not in resources:
            return None
        found += [resources] * most
    return tuple(found)
