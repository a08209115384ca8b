"""What a killed controller of Ray Train leaves behind in the cluster."""

from __future__ import annotations

import threading
from contextlib import suppress

import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group

from vicc_ray.pipelines.cluster.ray_compat import actor_info, controller_class_name, reservations

POLL_INTERVAL_S = 1.0
"""Seconds between looks for what is left reserved."""


def reap_orphans(over: threading.Event) -> None:
    """Loop for a background thread: :func:`remove_orphaned_placement_groups` until ``over`` is set."""
    ending = False
    while not ending:
        ending = over.wait(POLL_INTERVAL_S)
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
    left = [group.id for group in reservations() if group.creator and _is_dead_controller(group.creator)]
    for id in left:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(id)))
    return len(left)


def _is_dead_controller(actor: str) -> bool:
    """Of Ray Train: what others have reserved, in a Ray that a user began, may be meant to outlive them."""
    info = actor_info(actor)
    return info is not None and info.dead and info.class_name == controller_class_name()
