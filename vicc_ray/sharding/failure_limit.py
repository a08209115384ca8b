"""A run that is mostly failing stops: a wrong folder or a wrong setting should not cost a night."""

from __future__ import annotations

from collections.abc import Mapping

from vicc_ray.config import PrepareConfig
from vicc_ray.errors import UserError
from vicc_ray.sharding.plan import Failure

MIN_VIDEOS = 20
"""Videos from which on the share of failures says something."""


def exceeds_failure_limit(videos: int, failed: int, settings: PrepareConfig) -> bool:
    """Whether more than ``prepare.max_failures`` of enough videos failed."""
    return videos >= MIN_VIDEOS and failed > settings.max_failures * videos


def failure_limit_error(
    videos: int, failed: int, settings: PrepareConfig, failures: Mapping[str, Failure]
) -> UserError:
    """The error to stop with.

    Args:
        failures: of which three are told as examples; by the path of the video.
    """
    examples = "; ".join(f"{path}: {failures[path].reason}" for path in sorted(failures)[:3])
    return UserError(
        f"{failed} of {videos} videos failed ({100 * failed / videos:.0f} %), prepare.max_failures allows "
        f"{100 * settings.max_failures:g} %: {examples}; mend them, or set prepare.max_failures=1, and give the same "
        "command again: it goes on from here"
    )
