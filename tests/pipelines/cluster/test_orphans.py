from __future__ import annotations

import os
import signal
from threading import Event
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group

from vicc_ray.pipelines.cluster.orphans import remove_orphaned_placement_groups


class TrainController:
    """Reserves a CPU, as Ray Train's does."""

    def start(self) -> tuple[int, str]:
        place = placement_group([{"CPU": 0.5}])
        ray.get(place.ready())
        return os.getpid(), place.id.hex()

    def __ray_shutdown__(self) -> None:  # of one that is not killed; Ray counts it as dead already
        placement_group([{"CPU": 0.5}])


class Other(TrainController):
    """An actor of the user."""


def test_what_a_killed_controller_had_reserved_is_given_back() -> None:
    """And nothing of one that lives, of another actor, or of this process."""
    make: Any = ray.remote(num_cpus=0)(TrainController)
    killed, living, other = make.remote(), make.remote(), ray.remote(num_cpus=0)(Other).remote()
    started = ray.get([actor.start.remote() for actor in (killed, living, other)])
    (process, place), (_, living_place), (other_process, other_place) = started
    own = placement_group([{"CPU": 0.001}])
    assert remove_orphaned_placement_groups() == 0
    os.kill(other_process, signal.SIGKILL)
    os.kill(process, signal.SIGKILL)
    _until_released(1)
    states = {name: group["state"] for name, group in placement_group_table().items()}
    assert states[place] == "REMOVED"
    assert {states[living_place], states[other_place], states[own.id.hex()]} == {"CREATED"}
    ray.kill(living)
    _until_released(1)
    remove_placement_group(own)
    remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(other_place)))


def test_what_is_reserved_by_one_that_counts_as_dead_is_given_back() -> None:
    """By one that is stopped and sees its workers end before its own process does."""
    stopped: Any = ray.remote(num_cpus=0)(TrainController).remote()
    ray.get(stopped.start.remote())
    del stopped
    _until_released(2)


def _until_released(count: int) -> None:
    """Ray notices a death when it does."""
    tries, nothing = 0, Event()
    while count:
        assert tries < 600, "not noticed"
        nothing.wait(0.1)
        tries, count = tries + 1, count - remove_orphaned_placement_groups()
