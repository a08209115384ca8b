"""Cluster checks of the doctor: an actor on every node collects facts, which the checks compare."""

from __future__ import annotations

import secrets
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config
from vicc_ray.datasets.object_storage import RemotePath
from vicc_ray.doctor import checks
from vicc_ray.doctor.checks import Check
from vicc_ray.doctor.node_info import NodeInfo, collect_node_info
from vicc_ray.doctor.shared_fs_probe import SharedFsProbe
from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster.capacity import STORE, ClusterCapacity, cluster_capacity
from vicc_ray.pipelines.cluster.resource_check import training_shortage
from vicc_ray.pipelines.cluster.resources import size_workers
from vicc_ray.pipelines.cluster.session import ray_session
from vicc_ray.pipelines.cluster.wait_for_nodes import permanent_shortage
from vicc_ray.runs.schedule import build_phases
from vicc_ray.training.workload import largest_batch_bytes
from vicc_ray.utils.local_paths import is_address

ANSWER_TIMEOUT_S = 180.0
"""Timeout of a node's answer; the first one includes a process start and the import of torch."""
CLOCK_TRIES = 5
"""Clock readings per node; the one with the shortest round trip counts."""


def doctor(config: Config, out: str | None = None, store: str | None = None) -> Iterator[Check]:
    """Checks of the cluster that :func:`ray_session` finds, each yielded once it is done.

    Args:
        config: settings of the run, whose needs are checked.
        out: folder that all nodes must be able to write, and in which they must see each other's files.
        store: clip store that all nodes must be able to open.

    Raises:
        UserError: Ray cannot be started or connected to.
    """
    with ray_session(config.ray), _node_probes() as all_probes:
        nodes = _ask(all_probes, "collect_node_info")
        silent = [name for name in all_probes if name not in nodes]
        probes = {name: probe for name, probe in all_probes.items() if name in nodes}
        yield _check_answers(list(nodes), silent)
        if not nodes:
            return
        yield from _check_machines(list(nodes.values()))
        yield checks.check_clocks(_ahead(probes))
        yield _check_needs(config)
        if out is not None:
            yield _check_folder(probes, out)
        if store is not None:
            shown = str(RemotePath(store)) if is_address(store) else store  # without secrets
            yield checks.check_store(shown, _ask(probes, "open_store", store))


class NodeProbe:
    """Actor that answers the doctor's questions on its node."""

    def __init__(self, name: str, look: str) -> None:
        self._name, self._look = name, look

    def collect_node_info(self) -> NodeInfo:
        return collect_node_info(self._name)

    def clock(self) -> float:
        return time.time()

    def write(self, folder: str) -> str:
        return self._probe(folder).write()

    def missing(self, folder: str, nodes: list[str]) -> list[str]:
        return self._probe(folder).missing(nodes)

    def remove(self, folder: str) -> None:
        self._probe(folder).remove()

    def open_store(self, store: str) -> str:
        try:
            ClipStore(store)
        except (UserError, OSError) as error:
            return str(error)
        return ""

    def _probe(self, folder: str) -> SharedFsProbe:
        return SharedFsProbe(folder, self._look, self._name)


@contextmanager
def _node_probes() -> Iterator[dict[str, Any]]:
    """Node name -> its :class:`NodeProbe` actor."""
    look, nodes = secrets.token_hex(4), [node for node in ray.nodes() if node["Alive"]]
    actor_class: Any = ray.remote(num_cpus=0)(NodeProbe)  # no CPU, so that it runs on a head without CPUs too
    probes = {}
    for name, node in zip(_names(nodes), nodes, strict=True):
        on_node = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        probes[name] = actor_class.options(scheduling_strategy=on_node).remote(name, look)
    try:
        yield probes
    finally:
        for probe in probes.values():
            ray.kill(probe)


def _names(nodes: list[dict[str, Any]]) -> list[str]:
    """Node names: addresses, with a part of the node id where an address repeats."""
    addresses = Counter(node["NodeManagerAddress"] for node in nodes)
    if len(nodes) == 1:
        return [socket.gethostname()]
    return [
        address if addresses[address] == 1 else f"{address}-{node['NodeID'][:6]}"
        for node in nodes
        for address in [node["NodeManagerAddress"]]
    ]


def _ask(probes: dict[str, Any], question: str, *arguments: Any) -> dict[str, Any]:
    """Node -> answer, without nodes that do not answer in time."""
    refs = {name: getattr(probe, question).remote(*arguments) for name, probe in probes.items()}
    answered, _ = ray.wait(list(refs.values()), num_returns=len(refs), timeout=ANSWER_TIMEOUT_S)
    answers = {}
    for name, answer in refs.items():
        if answer in answered:
            try:
                answers[name] = ray.get(answer)
            except ray.exceptions.RayActorError:  # the node is lost
                continue
    return answers


def _check_answers(answered: list[str], silent: list[str]) -> Check:
    if silent:
        finding = f"no answer from {', '.join(silent)}; the other checks leave them out"
        return Check("FAIL", "machines", finding, "look at `ray status` and at the logs of that machine")
    return Check("ok", "machines", f"{len(answered)}: {', '.join(answered)}")


def _check_machines(nodes: list[NodeInfo]) -> Iterator[Check]:
    for check in (
        checks.check_versions,
        checks.check_token,
        checks.check_gpus,
        checks.check_memory,
        checks.check_disk,
    ):
        yield check(nodes)


def _ahead(probes: dict[str, Any]) -> dict[str, float]:
    """Node -> seconds by which its clock is ahead of the local one."""
    ahead: dict[str, float] = {}
    for name, probe in probes.items():
        tries = []
        for _ in range(CLOCK_TRIES):
            start = time.time()
            for remote in _ask({name: probe}, "clock").values():
                end = time.time()
                tries.append((end - start, remote - (start + end) / 2))
        if tries:
            ahead[name] = min(tries)[1]
    return ahead


def _check_needs(config: Config) -> Check:
    """Check what a run checks at its start: whether GPUs and object store suffice for the recipe."""
    try:
        batch_bytes = largest_batch_bytes(config, build_phases(config.schedule))
    except UserError as error:
        return Check("FAIL", "recipe", str(error), "correct the setting in the recipe, or with --set")
    return check_recipe(config, batch_bytes, cluster_capacity())


def check_recipe(config: Config, batch_bytes: int, capacity: ClusterCapacity) -> Check:
    """Check the resources that a recipe needs; those that an autoscaler may add are a warning.

    Args:
        batch_bytes: size of the clips of a global batch.
    """
    shortage = partial(training_shortage, config.train, config.ray.share, batch_bytes)
    if missing := permanent_shortage(shortage, capacity):
        needed, _, advice = missing.rpartition("; ")
        return Check("FAIL", "recipe", needed, advice)
    if missing := shortage(capacity):
        needed, _, advice = missing.rpartition("; ")
        autoscaled = "none if the autoscaler adds it: a run requests it and waits (ray.node_wait_timeout_s)"
        return Check("warn", "recipe", needed, f"{autoscaled}; else {advice}")
    store = capacity.total(STORE) / 2**20
    on = "GPUs" if size_workers(config.train, config.ray.share, capacity).use_gpu else "CPUs"
    finding = f"trains on {on}; an object store of {store:.0f} MiB for batches of {batch_bytes / 2**20:.0f} MiB"
    return Check("ok", "recipe", finding)


def _check_folder(probes: dict[str, Any], folder: str) -> Check:
    try:
        wrote = _ask(probes, "write", folder)
        written = [name for name, problem in wrote.items() if not problem]
        return checks.check_folder(folder, wrote, _ask(probes, "missing", folder, written))
    finally:
        _ask(probes, "remove", folder)
