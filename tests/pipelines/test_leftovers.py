from __future__ import annotations

import os
import signal
from threading import Event

import ray
from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group

from vicc_ray.pipelines.leftovers import release_places


class Controller:
    """Reserves a CPU, as Ray Train's does."""

    def start(self) -> tuple[int, str]:
        place = placement_group([{"CPU": 0.5}])
        ray.get(place.ready())
        return os.getpid(), place.id.hex()


class StoppedController:
    """One that reserves anew while it is stopped, since it sees its workers end before its own process does."""

    def ready(self) -> None: ...

    def __ray_shutdown__(self) -> None:  # Ray calls it when the actor counts as dead already
        placement_group([{"CPU": 0.5}])


def test_what_a_killed_controller_had_reserved_is_given_back() -> None:
    """And nothing of one that lives, or of this process."""
    make = ray.remote(num_cpus=0)(Controller)
    killed, living = make.remote(), make.remote()
    (process, place), (_, other_place) = ray.get([killed.start.remote(), living.start.remote()])
    own = placement_group([{"CPU": 0.001}])
    assert release_places() == 0
    os.kill(process, signal.SIGKILL)
    _until_one_is_released()
    states = {name: group["state"] for name, group in placement_group_table().items()}
    assert states[place] == "REMOVED"
    assert {states[other_place], states[own.id.hex()]} == {"CREATED"}
    ray.kill(living)
    _until_one_is_released()
    remove_placement_group(own)


def test_what_is_reserved_by_one_that_counts_as_dead_is_given_back() -> None:
    stopped = ray.remote(num_cpus=0)(StoppedController).remote()
    ray.get(stopped.ready.remote())
    del stopped
    _until_one_is_released()


def _until_one_is_released() -> None:
    """Ray notices a death when it does."""
    tries, nothing = 0, Event()
    while release_places() == 0:
        assert tries < 600, "not noticed"
        nothing.wait(0.1)
        tries += 1
