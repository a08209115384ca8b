"""Resource checks: an impossible request names its setting, and automatic worker sizes always fit."""

from __future__ import annotations

from functools import partial
from itertools import count, product
from typing import Any

import pytest

from tests.cluster.files import CLOUDS, load
from vicc_ray.config import Config, RayConfig, TrainConfig
from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster import wait_for_nodes as module
from vicc_ray.pipelines.cluster.capacity import HEAD, ClusterCapacity, launchable_nodes, places, task_shortage
from vicc_ray.pipelines.cluster.resource_check import sweep_bundles, sweep_shortage, training_shortage
from vicc_ray.pipelines.cluster.resources import MIN_DECODE_CPUS, size_workers
from vicc_ray.pipelines.cluster.wait_for_nodes import reject_impossible
from vicc_ray.pipelines.doctor import check_recipe
from vicc_ray.pipelines.inference.map_videos import task_resources
from vicc_ray.sweep.config import SweepConfig
from vicc_ray.sweep.trial_config import Sweep

STORE = 200 * 2**20


def nodes(*cpus: float, gpus: float = 0.0) -> ClusterCapacity:
    return ClusterCapacity(tuple({"CPU": float(n), "GPU": gpus, "object_store_memory": STORE} for n in cpus))


def lack(cluster: ClusterCapacity, share: float = 1.0, batch: int = 2**20, **train: Any) -> str:
    return training_shortage(TrainConfig(**train), share, batch, cluster)


@pytest.mark.parametrize(
    ("cluster", "train", "setting", "number"),
    [
        (nodes(2), {"cpus_per_worker": 2}, "train.cpus_per_worker", "1.9"),  # no CPU left to decode
        (nodes(2), {"cpus_per_worker": 1.95}, "train.cpus_per_worker", "1.9"),
        (nodes(2), {"cpus_per_worker": 4}, "train.cpus_per_worker", "has 2"),
        (
            nodes(2, 2, 2),
            {"cpus_per_worker": 4},
            "train.cpus_per_worker",
            "has 2",
        ),  # a worker must fit on one node
        (nodes(2), {"num_workers": 2, "cpus_per_worker": 1}, "train.cpus_per_worker", "0.95"),
        (nodes(2, 2), {"num_workers": 3, "cpus_per_worker": 1.5}, "train.num_workers", "room for 2"),
        (nodes(2, 2), {"num_workers": {"min": 3, "max": 9}, "cpus_per_worker": 1.5}, "train.num_workers", "room for 2"),
        # Ray Train starts as many workers as fit, and these leave no CPU to decode
        (nodes(2), {"num_workers": {"min": 1, "max": 2}, "cpus_per_worker": 1}, "train.cpus_per_worker", "2 workers"),
        (nodes(8), {"use_gpu": "yes"}, "train.use_gpu", "0 of the 1"),
        (nodes(8, gpus=1), {"use_gpu": "yes", "num_workers": 2}, "train.use_gpu", "1 of the 2"),
        (
            nodes(8, gpus=2),
            {"use_gpu": "yes", "gpus_per_worker": 0.6, "num_workers": 3},
            "train.use_gpu",
            "2 of the 1.8",
        ),
        (nodes(0), {}, "CPUs", "none"),
    ],
)
def test_impossible_training_names_its_setting(
    cluster: ClusterCapacity, train: dict[str, Any], setting: str, number: str
) -> None:
    shortage = lack(cluster, **train)
    assert setting in shortage.partition(";")[0]
    assert number in shortage
    assert shortage.partition("; ")[2], "it says what to do"


def test_gpu_node_without_enough_cpus_is_a_shortage() -> None:
    apart = ClusterCapacity(({"CPU": 8.0, "object_store_memory": STORE}, {"GPU": 1.0, "CPU": 0.5}))
    assert "train.cpus_per_worker" in lack(apart, use_gpu="yes", cpus_per_worker=1)


def test_object_store_too_small_for_a_batch_states_the_size_needed() -> None:
    shortage = lack(nodes(2), batch=STORE)
    enough = int(shortage.partition("set it to ")[2].split()[0])
    assert "ray.object_store_mb" in shortage
    large = ClusterCapacity(({"CPU": 2.0, "object_store_memory": enough * 2**20},))
    assert not lack(large, batch=STORE)


WORKERS: list[Any] = [1, 2, 3, {"min": 1, "max": 2}, {"min": 2, "max": 4}]


@pytest.mark.parametrize("cluster", [nodes(1), nodes(2), nodes(2, 2, 2), nodes(8, 1), nodes(0, 3, 5)])
@pytest.mark.parametrize("workers", WORKERS)
def test_automatic_worker_sizes_always_fit(cluster: ClusterCapacity, workers: Any) -> None:
    for share, use_gpu in product((1.0, 0.49), ("no", "auto")):
        assert not lack(cluster, share, num_workers=workers, use_gpu=use_gpu)


@pytest.mark.parametrize("cpus", [0.1, 0.5, 0.9, 0.95, 1, 1.5, 1.9, 1.91, 2])
@pytest.mark.parametrize("workers", WORKERS)
def test_accepted_settings_leave_cpus_to_decode(cpus: float, workers: Any) -> None:
    cluster, train = nodes(2), TrainConfig(num_workers=workers, cpus_per_worker=cpus)
    sized = size_workers(train, 1.0, cluster)
    started = min(train.num_workers.max, int(2 // cpus))
    fits = started >= train.num_workers.min and 2 - started * cpus >= MIN_DECODE_CPUS - 1e-9
    assert bool(training_shortage(train, 1.0, 1, cluster)) != fits
    if fits:  # the CPUs of a validation task exist
        assert 0 < sized.spare <= 2 - started * cpus + 1e-9


@pytest.mark.parametrize(
    ("resources", "concurrency", "setting"),
    [
        ({"cpus": 8}, 1, "resources_per_trial.cpus"),
        ({"cpus": 1.5}, 2, "resources_per_trial.cpus"),
        ({"gpus": 1}, 1, "resources_per_trial.gpus"),
    ],
)
def test_sweep_whose_trials_cannot_fit_names_its_setting(
    resources: dict[str, float], concurrency: int, setting: str
) -> None:
    search = {"stage2.sinkhorn_epsilon": {"low": 0.02, "high": 0.2}}
    sweep = SweepConfig.model_validate(
        {"search_space": search, "resources_per_trial": resources, "max_concurrent_trials": concurrency}
    )
    shortage = sweep_shortage(sweep, Config(), 1, nodes(2))
    assert setting in shortage and shortage.partition("; ")[2], "it says what to do"


def sweep_of(resources: dict[str, float], concurrency: int) -> tuple[SweepConfig, Config]:
    """A sweep, and the config of one of its trials."""
    sweep = SweepConfig.model_validate(
        {
            "search_space": {"method.queue_size": {"choices": [64]}},
            "resources_per_trial": resources,
            "max_concurrent_trials": concurrency,
        }
    )
    return sweep, Sweep(sweep).trial({})


@pytest.mark.parametrize("gpus", [0, 0.5, 1, 2])
@pytest.mark.parametrize("cpus", [0, 1, 3, 8])
@pytest.mark.parametrize("concurrency", [1, 3])
def test_bundles_requested_from_the_autoscaler_are_enough_for_the_sweep(
    gpus: float, cpus: float, concurrency: int
) -> None:
    sweep, trial = sweep_of({"gpus": gpus, "cpus": cpus}, concurrency)
    bundles = sweep_bundles(sweep, trial.train)
    assert sum(bundle.get("GPU", 0) for bundle in bundles) == concurrency * gpus
    total = {name: sum(bundle.get(name, 0.0) for bundle in bundles) for name in ("CPU", "GPU")}
    launched_nodes = ClusterCapacity(({**total, "GPU": float(-(-total["GPU"] // 1)), "object_store_memory": STORE},))
    assert not sweep_shortage(sweep, trial, 1, launched_nodes)


def test_trials_queue_for_gpus_when_one_trial_fits() -> None:
    sweep, trial = sweep_of({"gpus": 1}, 4)
    assert not sweep_shortage(sweep, trial, 1, nodes(8, gpus=1))
    assert "resources_per_trial.gpus" in sweep_shortage(*sweep_of({"gpus": 2}, 1), 1, nodes(8, gpus=1))


def test_trials_that_leave_no_cpu_are_a_shortage() -> None:
    sweep = SweepConfig.model_validate(
        {"search_space": {"method.queue_size": {"choices": [1]}}, "max_concurrent_trials": 2}
    )
    trial = Config(train=TrainConfig(cpus_per_worker=1), ray=RayConfig(share=0.49))
    assert "ray.share" in sweep_shortage(sweep, trial, 1, nodes(2))
    assert not sweep_shortage(sweep, Config(ray=RayConfig(share=0.49)), 1, nodes(2))


def test_task_needs_a_whole_cpu_on_one_node() -> None:
    assert task_shortage({"CPU": 1.0}, nodes(0.5, 0.5)) and not task_shortage({"CPU": 1.0}, nodes(0, 1))
    assert not task_shortage({"CPU": 0.4}, nodes(0.5))


def test_gpu_task_needs_cpus_on_the_same_node() -> None:
    bundle = task_resources(1, 0.0).bundle
    assert task_shortage(bundle, ClusterCapacity(({"GPU": 1.0, "CPU": 0.5}, {"CPU": 8.0})))
    assert not task_shortage(bundle, nodes(1, gpus=1))
    assert not task_shortage(
        task_resources(1, 0.0, cpus=0.5).bundle, nodes(0.5, gpus=1)
    )  # on the CPUs that training leaves


def test_fractional_gpu_is_taken_from_one_gpu() -> None:
    assert places({"GPU": 2.0}, {"GPU": 0.6}) == 2
    assert places({"GPU": 2.0}, {"GPU": 0.5}) == 4
    assert places({"CPU": 0.3}, {"CPU": 0.1}) == 3


def test_node_types_of_the_launch_file_count_as_launchable() -> None:
    kinds = {
        "head": {"resources": {"CPU": 0}},
        "gpu": {"resources": {"CPU": 8, "GPU": 1, "object_store_memory": STORE}, "max_workers": 2},
        "cpu": {"resources": {"CPU": 4}, "max_workers": 9},
    }
    file = {"max_workers": 3, "head_node_type": "head", "available_node_types": kinds}
    max_nodes = launchable_nodes(file)
    assert max_nodes is not None and [node["CPU"] for node in max_nodes] == [8, 8, 4, 4, 4]
    cluster = ClusterCapacity(({HEAD: 1.0, "CPU": 0.0},), True, max_nodes)
    assert lack(cluster, num_workers=2, use_gpu="yes") and not lack(
        cluster.at_full_size(), num_workers=2, use_gpu="yes"
    )
    assert lack(cluster.at_full_size(), num_workers=3, use_gpu="yes")
    undeclared = {**file, "available_node_types": {**kinds, "host": {"resources": {}}}}
    assert launchable_nodes(undeclared) is None  # Ray detects its resources on the machine


def fail(text: str) -> None:
    """Reporter for calls that must not wait."""
    pytest.fail(text)


def launched(cloud: str, *joined: dict[str, float]) -> ClusterCapacity:
    """Cluster of the repository's launch file: its head, the nodes that have joined, and the launchable ones."""
    return ClusterCapacity(({HEAD: 1.0, "object_store_memory": STORE}, *joined), True, launchable_nodes(load(cloud)))


@pytest.mark.parametrize("cloud", CLOUDS)
def test_launched_head_waits_for_nodes_whatever_their_object_store(cloud: str) -> None:
    for train in (TrainConfig(use_gpu="yes"), TrainConfig(use_gpu="yes", num_workers=2), TrainConfig(use_gpu="no")):
        needs = partial(training_shortage, train, 1.0, 2**30)
        assert needs(launched(cloud))
        reject_impossible(needs, launched(cloud), fail)
    with pytest.raises(UserError, match="train.num_workers"):
        reject_impossible(
            partial(training_shortage, TrainConfig(use_gpu="yes", num_workers=99), 1.0, 1), launched(cloud), fail
        )


def test_joined_nodes_with_too_small_object_stores_are_refused_without_a_wait() -> None:
    cluster = launched("aws", {"CPU": 8.0, "GPU": 1.0, "object_store_memory": STORE})
    with pytest.raises(UserError, match="ray.object_store_mb"):
        reject_impossible(partial(training_shortage, TrainConfig(use_gpu="yes"), 1.0, STORE), cluster, fail)


THREE = partial(training_shortage, TrainConfig(num_workers=3, cpus_per_worker=1.5), 1.0, 1)
"""Needs three nodes of two CPUs."""


def test_nodes_that_join_one_by_one_are_awaited_with_one_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    joined, reports = count(2), []
    monkeypatch.setattr(module, "POLL_INTERVAL_S", 0.02)
    monkeypatch.setattr(module, "owns_session", lambda: False)
    monkeypatch.setattr(module, "cluster_capacity", lambda: nodes(*[2.0] * next(joined)))
    reject_impossible(THREE, nodes(2), reports.append)
    assert next(joined) == 4, "the wait ends once the nodes have joined"
    assert len(reports) == 1 and "train.num_workers" in reports[0] and f"{module.SETTLE_TIMEOUT_S:.0f} s" in reports[0]


def test_settled_cluster_is_refused_after_a_wait_and_a_local_session_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reports: list[str] = []
    monkeypatch.setattr(module, "POLL_INTERVAL_S", 0.02)
    monkeypatch.setattr(module, "SETTLE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(module, "owns_session", lambda: False)
    monkeypatch.setattr(module, "cluster_capacity", lambda: nodes(2))
    with pytest.raises(UserError, match="train.num_workers"):
        reject_impossible(THREE, nodes(2), reports.append)
    assert len(reports) == 1
    monkeypatch.setattr(module, "SETTLE_TIMEOUT_S", 3600.0)
    monkeypatch.setattr(module, "owns_session", lambda: True)
    with pytest.raises(UserError, match="train.num_workers"):
        reject_impossible(THREE, nodes(2), fail)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_doctor_warns_of_nodes_to_come_and_fails_for_impossible_ones(cloud: str) -> None:
    config, head = Config(train=TrainConfig(use_gpu="yes")), launched(cloud)
    assert check_recipe(config, 2**20, head).mark == "warn"
    assert check_recipe(config, 2**20, ClusterCapacity(head.nodes, True, None)).mark == "warn"
    assert check_recipe(config, 2**20, ClusterCapacity(head.nodes)).mark == "FAIL"
    never = check_recipe(Config(train=TrainConfig(use_gpu="yes", num_workers=99)), 2**20, head)
    assert never.mark == "FAIL" and "train.num_workers" in never.finding + never.advice
    up = launched(cloud, {"CPU": 8.0, "GPU": 1.0, "object_store_memory": STORE})
    assert check_recipe(config, 2**20, up).mark == "ok"
