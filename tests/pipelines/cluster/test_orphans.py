from __future__ import annotations

import os
import signal
from threading import Event
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group

from vicc_ray.pipelines.cluster.orphans import remove_orphaned_placement_groups


class TrainController:
    """Actor with the name of Ray Train's controller, which reserves a CPU as that does."""

    def start(self) -> tuple[int, str]:
        place = placement_group([{"CPU": 0.5}])
        ray.get(place.ready())
        return os.getpid(), place.id.hex()

    def __ray_shutdown__(self) -> None:  # runs in a graceful stop, when Ray already counts the actor as dead
        placement_group([{"CPU": 0.5}])


class Other(TrainController):
    """Actor of the user."""


def test_placement_groups_of_a_killed_controller_are_removed() -> None:
    """Those of a live controller, of another actor and of this process stay."""
    make: Any = ray.remote(num_cpus=0)(TrainController)
    killed, living, other = make.remote(), make.remote(), ray.remote(num_cpus=0)(Other).remote()
    started = ray.get([actor.start.remote() for actor in (killed, living, other)])
    (process, place), (_, living_place), (other_process, other_place) = started
    driver_group = placement_group([{"CPU": 0.001}])
    assert remove_orphaned_placement_groups() == 0
    os.kill(other_process, signal.SIGKILL)
    os.kill(process, signal.SIGKILL)
    _until_released(1)
    states = {name: group["state"] for name, group in placement_group_table().items()}
    assert states[place] == "REMOVED"
    assert {states[living_place], states[other_place], states[driver_group.id.hex()]} == {"CREATED"}
    ray.kill(living)
    _until_released(1)
    remove_placement_group(driver_group)
    remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(other_place)))


def test_placement_group_created_during_shutdown_is_removed() -> None:
    """A stopped controller may still create one before its process exits."""
    stopped: Any = ray.remote(num_cpus=0)(TrainController).remote()
    ray.get(stopped.start.remote())
    del stopped
    _until_released(2)


def _until_released(count: int) -> None:
    """Wait until ``count`` groups are removed; Ray detects a death with a delay."""
    tries, nothing = 0, Event()
    while count:
        assert tries < 600, "not removed in time"
        nothing.wait(0.1)
        tries, count = tries + 1, count - remove_orphaned_placement_groups()
