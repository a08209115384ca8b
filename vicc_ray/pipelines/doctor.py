"""Ask every machine of the cluster how it is: one process on each, and what follows from all their answers."""

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
from vicc_ray.training.data.clip_batches import sample_bytes
from vicc_ray.utils.local_paths import is_address

ANSWER_TIMEOUT_S = 180.0
"""Seconds in which a machine must answer; the first answer takes the start of a process and an import of torch."""
CLOCK_TRIES = 5
"""Of which the quickest counts: its answer was least delayed."""


def doctor(config: Config, out: str | None = None, store: str | None = None) -> Iterator[Check]:
    """Check the machines of the cluster that :func:`ray_session` finds, each check as soon as it is made.

    Args:
        config: what is to be run, for what it needs.
        out: folder that all machines must be able to write and to see each other's files in.
        store: clip store that all machines must be able to open.

    Raises:
        UserError: Ray cannot be started or joined.
    """
    with ray_session(config.ray), _node_probes() as all_examiners:
        nodes = _ask(all_examiners, "collect_node_info")
        silent = [name for name in all_examiners if name not in nodes]
        examiners = {name: examiner for name, examiner in all_examiners.items() if name in nodes}
        yield _check_answers(list(nodes), silent)
        if not nodes:
            return
        yield from _check_machines(list(nodes.values()))
        yield checks.check_clocks(_ahead(examiners))
        yield _check_needs(config)
        if out is not None:
            yield _check_folder(examiners, out)
        if store is not None:
            shown = str(RemotePath(store)) if is_address(store) else store  # without secrets
            yield checks.check_store(shown, _ask(examiners, "open_store", store))


class NodeProbe:
    """On one machine."""

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
    """Name of each machine -> what examines it."""
    look, nodes = secrets.token_hex(4), [node for node in ray.nodes() if node["Alive"]]
    begin: Any = ray.remote(num_cpus=0)(NodeProbe)  # also on a head that has none
    made = {}
    for name, node in zip(_names(nodes), nodes, strict=True):
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        made[name] = begin.options(scheduling_strategy=there).remote(name, look)
    try:
        yield made
    finally:
        for examiner in made.values():
            ray.kill(examiner)


def _names(nodes: list[dict[str, Any]]) -> list[str]:
    """The address of each, with a part of the node's id where several have the same."""
    addresses = Counter(node["NodeManagerAddress"] for node in nodes)
    if len(nodes) == 1:
        return [socket.gethostname()]
    return [
        address if addresses[address] == 1 else f"{address}-{node['NodeID'][:6]}"
        for node in nodes
        for address in [node["NodeManagerAddress"]]
    ]


def _ask(examiners: dict[str, Any], question: str, *arguments: Any) -> dict[str, Any]:
    """Machine -> its answer, of those that answer in time."""
    asked = {name: getattr(examiner, question).remote(*arguments) for name, examiner in examiners.items()}
    answered, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=ANSWER_TIMEOUT_S)
    answers = {}
    for name, answer in asked.items():
        if answer in answered:
            try:
                answers[name] = ray.get(answer)
            except ray.exceptions.RayActorError:  # it has gone in the meantime
                continue
    return answers


def _check_answers(there: list[str], silent: list[str]) -> Check:
    if silent:
        finding = f"no answer from {', '.join(silent)}; the other checks leave them out"
        return Check("FAIL", "machines", finding, "look at `ray status` and at the logs of that machine")
    return Check("ok", "machines", f"{len(there)}: {', '.join(there)}")


def _check_machines(nodes: list[NodeInfo]) -> Iterator[Check]:
    for check in (
        checks.check_versions,
        checks.check_token,
        checks.check_gpus,
        checks.check_memory,
        checks.check_disk,
    ):
        yield check(nodes)


def _ahead(examiners: dict[str, Any]) -> dict[str, float]:
    """Machine -> seconds by which its clock is ahead of that of this one."""
    ahead: dict[str, float] = {}
    for name, examiner in examiners.items():
        tries = []
        for _ in range(CLOCK_TRIES):
            asked = time.time()
            for told in _ask({name: examiner}, "clock").values():
                answered = time.time()
                tries.append((answered - asked, told - (asked + answered) / 2))
        if tries:
            ahead[name] = min(tries)[1]
    return ahead


def _check_needs(config: Config) -> Check:
    """Check what a run checks at its start: whether GPUs and object store suffice for the recipe."""
    return check_recipe(
        config, config.train.global_batch_size * sample_bytes(config.clip, ("rgb", "flow")), cluster_capacity()
    )


def check_recipe(config: Config, batch_bytes: int, there: ClusterCapacity) -> Check:
    """Check the resources that a recipe needs; those that an autoscaler may add are a warning.

    Args:
        batch_bytes: size of the clips of a global batch.
    """
    lack = partial(training_shortage, config.train, config.ray.share, batch_bytes)
    if missing := permanent_shortage(lack, there):
        needed, _, advice = missing.rpartition("; ")
        return Check("FAIL", "recipe", needed, advice)
    if missing := lack(there):
        needed, _, advice = missing.rpartition("; ")
        autoscaled = "none if the autoscaler adds it: a run requests it and waits (ray.node_wait_timeout_s)"
        return Check("warn", "recipe", needed, f"{autoscaled}; else {advice}")
    store = there.total(STORE) / 2**20
    on = "GPUs" if size_workers(config.train, config.ray.share, there).use_gpu else "CPUs"
    finding = f"trains on {on}; an object store of {store:.0f} MiB for batches of {batch_bytes / 2**20:.0f} MiB"
    return Check("ok", "recipe", finding)


def _check_folder(examiners: dict[str, Any], folder: str) -> Check:
    try:
        wrote = _ask(examiners, "write", folder)
        written = [name for name, problem in wrote.items() if not problem]
        return checks.check_folder(folder, wrote, _ask(examiners, "missing", folder, written))
    finally:
        _ask(examiners, "remove", folder)
