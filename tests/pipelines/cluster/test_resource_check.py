"""What fits on which machines: what never can is refused with its setting, and what is chosen for the user fits."""

from __future__ import annotations

from functools import partial
from itertools import count, product
from typing import Any

import pytest

from tests.cluster.files import CLOUDS, load
from vicc_ray.config import Config, RayConfig, TrainConfig
from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster import wait_for_nodes as awaited
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


def lack(there: ClusterCapacity, share: float = 1.0, batch: int = 2**20, **train: Any) -> str:
    return training_shortage(TrainConfig(**train), share, batch, there)


@pytest.mark.parametrize(
    ("there", "train", "setting", "number"),
    [
        (nodes(2), {"cpus_per_worker": 2}, "train.cpus_per_worker", "1.9"),  # nothing is left to decode
        (nodes(2), {"cpus_per_worker": 1.95}, "train.cpus_per_worker", "1.9"),
        (nodes(2), {"cpus_per_worker": 4}, "train.cpus_per_worker", "has 2"),
        (
            nodes(2, 2, 2),
            {"cpus_per_worker": 4},
            "train.cpus_per_worker",
            "has 2",
        ),  # each fits on one machine, or nowhere
        (nodes(2), {"num_workers": 2, "cpus_per_worker": 1}, "train.cpus_per_worker", "0.95"),
        (nodes(2, 2), {"num_workers": 3, "cpus_per_worker": 1.5}, "train.num_workers", "room for 2"),
        (nodes(2, 2), {"num_workers": {"min": 3, "max": 9}, "cpus_per_worker": 1.5}, "train.num_workers", "room for 2"),
        # Ray Train begins as many workers as there is room for, and these leave nothing
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
def test_what_never_fits_is_told_with_its_setting(
    there: ClusterCapacity, train: dict[str, Any], setting: str, number: str
) -> None:
    found = lack(there, **train)
    assert setting in found.partition(";")[0]
    assert number in found
    assert found.partition("; ")[2], "it says what to do"


def test_gpus_without_cpus_beside_them_are_told() -> None:
    apart = ClusterCapacity(({"CPU": 8.0, "object_store_memory": STORE}, {"GPU": 1.0, "CPU": 0.5}))
    assert "train.cpus_per_worker" in lack(apart, use_gpu="yes", cpus_per_worker=1)


def test_a_batch_too_large_for_the_object_store_is_told_with_what_is_enough() -> None:
    found = lack(nodes(2), batch=STORE)
    enough = int(found.partition("set it to ")[2].split()[0])
    assert "ray.object_store_mb" in found
    large = ClusterCapacity(({"CPU": 2.0, "object_store_memory": enough * 2**20},))
    assert not lack(large, batch=STORE)


WORKERS: list[Any] = [1, 2, 3, {"min": 1, "max": 2}, {"min": 2, "max": 4}]


@pytest.mark.parametrize("there", [nodes(1), nodes(2), nodes(2, 2, 2), nodes(8, 1), nodes(0, 3, 5)])
@pytest.mark.parametrize("workers", WORKERS)
def test_workers_that_are_sized_for_the_user_always_fit(there: ClusterCapacity, workers: Any) -> None:
    for share, use_gpu in product((1.0, 0.49), ("no", "auto")):
        assert not lack(there, share, num_workers=workers, use_gpu=use_gpu)


@pytest.mark.parametrize("cpus", [0.1, 0.5, 0.9, 0.95, 1, 1.5, 1.9, 1.91, 2])
@pytest.mark.parametrize("workers", WORKERS)
def test_of_what_is_accepted_something_is_left_to_decode(cpus: float, workers: Any) -> None:
    there, train = nodes(2), TrainConfig(num_workers=workers, cpus_per_worker=cpus)
    sized = size_workers(train, 1.0, there)
    begun = min(train.num_workers.max, int(2 // cpus))
    fits = begun >= train.num_workers.min and 2 - begun * cpus >= MIN_DECODE_CPUS - 1e-9
    assert bool(training_shortage(train, 1.0, 1, there)) != fits
    if fits:  # what a validation's task asks for is there
        assert 0 < sized.spare <= 2 - begun * cpus + 1e-9


@pytest.mark.parametrize(
    ("resources", "concurrency", "setting"),
    [
        ({"cpus": 8}, 1, "resources_per_trial.cpus"),
        ({"cpus": 1.5}, 2, "resources_per_trial.cpus"),
        ({"gpus": 1}, 1, "resources_per_trial.gpus"),
    ],
)
def test_a_sweep_whose_trials_never_fit_is_told(resources: dict[str, float], concurrency: int, setting: str) -> None:
    search = {"stage2.sinkhorn_epsilon": {"low": 0.02, "high": 0.2}}
    given = SweepConfig.model_validate(
        {"search_space": search, "resources_per_trial": resources, "max_concurrent_trials": concurrency}
    )
    found = sweep_shortage(given, Config(), 1, nodes(2))
    assert setting in found and found.partition("; ")[2], "it says what to do"


def sweep_of(resources: dict[str, float], concurrency: int) -> tuple[SweepConfig, Config]:
    """A sweep, and what one of its trials has."""
    given = SweepConfig.model_validate(
        {
            "search_space": {"method.queue_size": {"choices": [64]}},
            "resources_per_trial": resources,
            "max_concurrent_trials": concurrency,
        }
    )
    return given, Sweep(given).trial({})


@pytest.mark.parametrize("gpus", [0, 0.5, 1, 2])
@pytest.mark.parametrize("cpus", [0, 1, 3, 8])
@pytest.mark.parametrize("concurrency", [1, 3])
def test_an_autoscaler_that_brings_what_a_sweep_asks_for_brings_enough(
    gpus: float, cpus: float, concurrency: int
) -> None:
    given, trial = sweep_of({"gpus": gpus, "cpus": cpus}, concurrency)
    asked = sweep_bundles(given, trial.train)
    assert sum(bundle.get("GPU", 0) for bundle in asked) == concurrency * gpus
    whole = {name: sum(bundle.get(name, 0.0) for bundle in asked) for name in ("CPU", "GPU")}
    brought = ClusterCapacity(({**whole, "GPU": float(-(-whole["GPU"] // 1)), "object_store_memory": STORE},))
    assert not sweep_shortage(given, trial, 1, brought)


def test_trials_queue_for_gpus_where_one_of_them_fits() -> None:
    given, trial = sweep_of({"gpus": 1}, 4)
    assert not sweep_shortage(given, trial, 1, nodes(8, gpus=1))
    assert "resources_per_trial.gpus" in sweep_shortage(*sweep_of({"gpus": 2}, 1), 1, nodes(8, gpus=1))


def test_trials_that_take_all_cpus_together_are_told() -> None:
    given = SweepConfig.model_validate(
        {"search_space": {"method.queue_size": {"choices": [1]}}, "max_concurrent_trials": 2}
    )
    trial = Config(train=TrainConfig(cpus_per_worker=1), ray=RayConfig(share=0.49))
    assert "ray.share" in sweep_shortage(given, trial, 1, nodes(2))
    assert not sweep_shortage(given, Config(ray=RayConfig(share=0.49)), 1, nodes(2))


def test_tasks_need_a_whole_cpu_on_one_machine() -> None:
    assert task_shortage({"CPU": 1.0}, nodes(0.5, 0.5)) and not task_shortage({"CPU": 1.0}, nodes(0, 1))
    assert not task_shortage({"CPU": 0.4}, nodes(0.5))


def test_tasks_on_gpus_need_cpus_on_the_same_machine() -> None:
    bundle = task_resources(1, 0.0).bundle
    assert task_shortage(bundle, ClusterCapacity(({"GPU": 1.0, "CPU": 0.5}, {"CPU": 8.0})))
    assert not task_shortage(bundle, nodes(1, gpus=1))
    assert not task_shortage(
        task_resources(1, 0.0, cpus=0.5).bundle, nodes(0.5, gpus=1)
    )  # of the spare CPUs of a training


def test_a_share_of_a_gpu_is_of_one_gpu() -> None:
    assert places({"GPU": 2.0}, {"GPU": 0.6}) == 2
    assert places({"GPU": 2.0}, {"GPU": 0.5}) == 4
    assert places({"CPU": 0.3}, {"CPU": 0.1}) == 3


def test_what_the_launch_file_allows_counts_as_what_may_come() -> None:
    kinds = {
        "head": {"resources": {"CPU": 0}},
        "gpu": {"resources": {"CPU": 8, "GPU": 1, "object_store_memory": STORE}, "max_workers": 2},
        "cpu": {"resources": {"CPU": 4}, "max_workers": 9},
    }
    file = {"max_workers": 3, "head_node_type": "head", "available_node_types": kinds}
    max_nodes = launchable_nodes(file)
    assert max_nodes is not None and [node["CPU"] for node in max_nodes] == [8, 8, 4, 4, 4]
    there = ClusterCapacity(({HEAD: 1.0, "CPU": 0.0},), True, max_nodes)
    assert lack(there, num_workers=2, use_gpu="yes") and not lack(there.at_full_size(), num_workers=2, use_gpu="yes")
    assert lack(there.at_full_size(), num_workers=3, use_gpu="yes")
    unsaid = {**file, "available_node_types": {**kinds, "host": {"resources": {}}}}
    assert launchable_nodes(unsaid) is None  # what Ray finds on the machine


def fail(text: str) -> None:
    """What is told where nothing is waited for."""
    pytest.fail(text)


def launched(cloud: str, *there: dict[str, float]) -> ClusterCapacity:
    """A cluster of the repository's launch file: its head, machines that are there, and what may come."""
    return ClusterCapacity(({HEAD: 1.0, "object_store_memory": STORE}, *there), True, launchable_nodes(load(cloud)))


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_launched_head_alone_is_waited_with_whatever_the_object_store_of_what_comes(cloud: str) -> None:
    for train in (TrainConfig(use_gpu="yes"), TrainConfig(use_gpu="yes", num_workers=2), TrainConfig(use_gpu="no")):
        needs = partial(training_shortage, train, 1.0, 2**30)
        assert needs(launched(cloud))
        reject_impossible(needs, launched(cloud), fail)
    with pytest.raises(UserError, match="train.num_workers"):
        reject_impossible(
            partial(training_shortage, TrainConfig(use_gpu="yes", num_workers=99), 1.0, 1), launched(cloud), fail
        )


def test_machines_that_are_there_with_too_small_object_stores_are_not_waited_for() -> None:
    there = launched("aws", {"CPU": 8.0, "GPU": 1.0, "object_store_memory": STORE})
    with pytest.raises(UserError, match="ray.object_store_mb"):
        reject_impossible(partial(training_shortage, TrainConfig(use_gpu="yes"), 1.0, STORE), there, fail)


THREE = partial(training_shortage, TrainConfig(num_workers=3, cpus_per_worker=1.5), 1.0, 1)
"""Of machines with two CPUs."""


def test_machines_that_join_a_cluster_one_after_the_other_are_waited_for_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    joined, told = count(2), []
    monkeypatch.setattr(awaited, "POLL_INTERVAL_S", 0.02)
    monkeypatch.setattr(awaited, "owns_session", lambda: False)
    monkeypatch.setattr(awaited, "cluster_capacity", lambda: nodes(*[2.0] * next(joined)))
    reject_impossible(THREE, nodes(2), told.append)
    assert next(joined) == 4, "no longer than until they are there"
    assert len(told) == 1 and "train.num_workers" in told[0] and f"{awaited.SETTLE_TIMEOUT_S:.0f} s" in told[0]


def test_a_cluster_that_no_machine_joins_any_more_is_refused_and_an_own_ray_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    monkeypatch.setattr(awaited, "POLL_INTERVAL_S", 0.02)
    monkeypatch.setattr(awaited, "SETTLE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(awaited, "owns_session", lambda: False)
    monkeypatch.setattr(awaited, "cluster_capacity", lambda: nodes(2))
    with pytest.raises(UserError, match="train.num_workers"):
        reject_impossible(THREE, nodes(2), told.append)
    assert len(told) == 1
    monkeypatch.setattr(awaited, "SETTLE_TIMEOUT_S", 3600.0)
    monkeypatch.setattr(awaited, "owns_session", lambda: True)
    with pytest.raises(UserError, match="train.num_workers"):
        reject_impossible(THREE, nodes(2), fail)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_doctor_warns_of_machines_that_are_still_to_come_and_marks_those_that_never_do(cloud: str) -> None:
    config, head = Config(train=TrainConfig(use_gpu="yes")), launched(cloud)
    assert check_recipe(config, 2**20, head).mark == "warn"
    assert check_recipe(config, 2**20, ClusterCapacity(head.nodes, True, None)).mark == "warn"
    assert check_recipe(config, 2**20, ClusterCapacity(head.nodes)).mark == "FAIL"
    never = check_recipe(Config(train=TrainConfig(use_gpu="yes", num_workers=99)), 2**20, head)
    assert never.mark == "FAIL" and "train.num_workers" in never.finding + never.advice
    up = launched(cloud, {"CPU": 8.0, "GPU": 1.0, "object_store_memory": STORE})
    assert check_recipe(config, 2**20, up).mark == "ok"
