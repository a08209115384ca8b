from __future__ import annotations

import os
import signal
from collections.abc import Callable
from threading import Event

import ray  # puts its own psutil where Python looks

# isort: split
import psutil
from ray.train.v2._internal.execution.controller.placement_group_cleaner import PlacementGroupCleaner
from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group

from vicc_ray.pipelines.leftovers import end_watchers, release_leftovers


class Controller:
    """Reserves a CPU and has itself watched over, as Ray Train's does."""

    def start(self) -> tuple[int, int, str]:
        watcher = ray.remote(num_cpus=0)(PlacementGroupCleaner).options(lifetime="detached")
        self.watcher = watcher.remote(ray.get_runtime_context().get_actor_id(), 1.0, 1.0, 2.0)
        place = placement_group([{"CPU": 0.5}])
        ray.get(place.ready())
        process = ray.get(self.watcher.__ray_call__.remote(lambda _: os.getpid()))
        return os.getpid(), process, place.id.hex()


def test_what_a_killed_controller_leaves_is_ended_and_given_back() -> None:
    """And nothing of one that lives, or of this process."""
    make = ray.remote(num_cpus=0)(Controller)
    killed, living = make.remote(), make.remote()
    (process, watcher, place), (_, other_watcher, other_place) = ray.get([killed.start.remote(), living.start.remote()])
    own = placement_group([{"CPU": 0.001}])
    assert end_watchers() == release_leftovers() == 0
    watching = psutil.Process(watcher)
    os.kill(process, signal.SIGKILL)
    _repeat(end_watchers)
    _repeat(release_leftovers)
    watching.wait(60)
    states = {name: group["state"] for name, group in placement_group_table().items()}
    assert states[place] == "REMOVED"
    assert {states[other_place], states[own.id.hex()]} == {"CREATED"}
    other_watching = psutil.Process(other_watcher)
    ray.kill(living)
    _repeat(end_watchers)
    _repeat(release_leftovers)
    other_watching.wait(60)
    remove_placement_group(own)


def _repeat(release: Callable[[], int]) -> None:
    """Until it finds something: Ray notices a death when it does."""
    tries, nothing = 0, Event()
    while release() == 0:
        assert tries < 600, "not noticed"
        nothing.wait(0.1)
        tries += 1
