"""What a killed controller of Ray Train leaves behind in the cluster."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import ray
from ray._private.state import state
from ray._raylet import ActorID, PlacementGroupID
from ray.core.generated import gcs_pb2
from ray.train.v2._internal.execution.controller import TrainController
from ray.util.placement_group import PlacementGroup, remove_placement_group

LOOK_S = 1.0
"""Seconds between looks for what is left reserved."""


def reap_orphans(over: threading.Event) -> None:
    """Loop for a background thread: :func:`remove_orphaned_placement_groups` until ``over`` is set."""
    ending = False
    while not ending:
        ending = over.wait(LOOK_S)
        with suppress(ray.exceptions.RayError):
            remove_orphaned_placement_groups()


def remove_orphaned_placement_groups() -> int:
    """Give back the CPUs and GPUs that controllers of this job had reserved (as placement groups) and that died since.

    Ray gives them back with the end of the job alone; Ray Train's own helper for it asks the dashboard, which a local
    Ray does not have. Whoever waits for the same CPUs would wait for ever.

    A controller that is stopped while it trains sees its workers end before its own process does, and may reserve for
    new ones at that moment: the placement group then never hears of its creator's death, so the actor is looked up.

    Returns:
        how many placement groups were removed.
    """
    left = [group for group in reserved() if _is_dead_controller(ActorID(group.creator_actor_id))]
    for group in left:
        remove_placement_group(PlacementGroup(PlacementGroupID(group.placement_group_id)))
    return len(left)


def reserved() -> list[Any]:
    """Placement groups of this job that have what they ask for or wait for it, as Ray's table has them."""
    own_job = ray.get_runtime_context().get_job_id()
    table = state._connect_and_get_accessor().get_placement_group_table()
    kind = vars(gcs_pb2)["PlacementGroupTableData"]  # made when it is imported: a type checker does not see it
    found = [kind.FromString(raw) for raw in table]
    return [group for group in found if group.creator_job_id.hex() == own_job and group.state != kind.REMOVED]


def _is_dead_controller(actor: ActorID) -> bool:
    """Of Ray Train: what others have reserved, in a Ray that a user began, may be meant to outlive them."""
    if actor.is_nil():  # it is the driver itself
        return False
    known = state.actor_table(actor.hex())
    return known.get("ActorClassName") == TrainController.__name__ and known["State"] == "DEAD"
