"""What a killed controller of Ray Train leaves behind in the cluster."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any

import ray
from ray._private.state import state
from ray._raylet import ActorID, JobID, PlacementGroupID
from ray.core.generated import gcs_pb2
from ray.util.placement_group import PlacementGroup, remove_placement_group

WATCHER = "PlacementGroupCleaner"


def release_leftovers() -> int:
    """Give back what actors of this job had reserved and begun that have died since.

    Ray gives it back with the end of the job alone; Ray Train's own helper for it asks the dashboard, which a local Ray
    does not have. Whoever waits for the same CPUs would wait for ever.

    Returns:
        how many placement groups (reserved CPUs and GPUs) were removed.
    """
    end_watchers()
    job = ray.get_runtime_context().get_job_id()
    table = state._connect_and_get_accessor().get_placement_group_table()
    kind = _kind("PlacementGroupTableData")
    found = [kind.FromString(raw) for raw in table]
    left = [
        group
        for group in found
        if group.creator_actor_dead
        and not ActorID(group.creator_actor_id).is_nil()  # it is one of the driver itself
        and group.creator_job_id.hex() == job
        and group.state != kind.REMOVED
    ]
    for group in left:
        remove_placement_group(PlacementGroup(PlacementGroupID(group.placement_group_id)))
    return len(left)


def end_watchers() -> int:
    """End the helpers of Ray Train on this machine that watch over a controller that is gone; how many there were.

    Where there is no dashboard to ask they would ask every second for as long as Ray runs: 2 to 3 % of a core for each
    trial that a sweep has stopped.
    """
    context = ray.get_runtime_context()
    kind = _kind("ActorTableData")
    actors = state._connect_and_get_accessor().get_actor_table(JobID(bytes.fromhex(context.get_job_id())), None)
    found = [kind.FromString(raw) for raw in actors]
    gone = {actor.address.worker_id for actor in found if actor.state == kind.DEAD}
    left = [
        actor.pid
        for actor in found
        if actor.state == kind.ALIVE
        and actor.class_name.endswith(WATCHER)
        and actor.owner_address.worker_id in gone
        and actor.address.node_id.hex() == context.get_node_id()
    ]
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    return len(left)


def _kind(name: str) -> Any:
    """A message of Ray's; made when the module is imported, so that a type checker does not see it."""
    return vars(gcs_pb2)[name]
