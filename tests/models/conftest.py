"""Guard of all model tests against the backward pass that corrupts memory on some CPUs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.short_clips import ShortClipGuard


@pytest.fixture(autouse=True)
def short_clip_guard() -> Iterator[ShortClipGuard]:
    """Fail a test that runs oneDNN's backward pass on a short clip."""
    with ShortClipGuard() as guard:
        yield guard
