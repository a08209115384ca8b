"""Failure limit: a run stops early when too many videos fail, because the folder or a setting is likely wrong."""

from __future__ import annotations

from collections.abc import Mapping

from vicc_ray.config import PrepareConfig
from vicc_ray.errors import UserError
from vicc_ray.sharding.plan import Failure

MIN_VIDEOS = 20
"""Processed videos from which on the failure rate is checked."""


def exceeds_failure_limit(videos: int, failed: int, settings: PrepareConfig) -> bool:
    """Whether more than ``prepare.max_failure_rate`` of the videos failed, once there are :data:`MIN_VIDEOS`."""
    return videos >= MIN_VIDEOS and failed > settings.max_failure_rate * videos


def failure_limit_error(
    videos: int, failed: int, settings: PrepareConfig, failures: Mapping[str, Failure]
) -> UserError:
    """Error of a run that exceeds the limit.

    Args:
        failures: by path of the video; three are quoted.
    """
    examples = "; ".join(f"{path}: {failures[path].reason}" for path in sorted(failures)[:3])
    return UserError(
        f"{failed} of {videos} videos failed ({100 * failed / videos:.0f} %), prepare.max_failure_rate allows "
        f"{100 * settings.max_failure_rate:g} %: {examples}; fix them, or set prepare.max_failure_rate=1, and give "
        f"the same "
        "command again: it continues from here"
    )
