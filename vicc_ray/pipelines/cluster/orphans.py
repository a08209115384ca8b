"""Orphaned placement groups: reservations that a killed controller of Ray Train leaves behind."""

from __future__ import annotations

import threading
from contextlib import suppress

import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group

from vicc_ray.pipelines.cluster.ray_compat import actor_info, controller_class_name, reservations

POLL_INTERVAL_S = 1.0
"""Seconds between two looks at the placement groups."""


def reap_orphans(over: threading.Event) -> None:
    """Loop for a background thread: :func:`remove_orphaned_placement_groups` until ``over`` is set."""
    ending = False
    while not ending:
        ending = over.wait(POLL_INTERVAL_S)
        with suppress(ray.exceptions.RayError):
            remove_orphaned_placement_groups()


def remove_orphaned_placement_groups() -> int:
    """Remove placement groups of dead Ray Train controllers of this job.

    Ray itself removes them only when the job ends, and their CPUs and GPUs are blocked until then. Ray Train's own
    cleaner needs the dashboard, which a local Ray does not have.

    A controller that is stopped sees its workers end before its own process does, and may reserve resources for new
    ones at that moment. Such a placement group never learns of its creator's death, so the actor is looked up.

    Returns:
        the number of removed placement groups.
    """
    orphans = [group.id for group in reservations() if group.creator and _is_dead_controller(group.creator)]
    for id in orphans:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(id)))
    return len(orphans)


def _is_dead_controller(actor: str) -> bool:
    """Whether a dead actor was one of Ray Train's; placement groups of others may be meant to outlive them."""
    info = actor_info(actor)
    return info is not None and info.dead and info.class_name == controller_class_name()
