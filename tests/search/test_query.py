"""What is looked at of a query: as much as somebody waits for."""

from __future__ import annotations

import pytest

from vicc_ray.config import ClipConfig, Config, ModelConfig
from vicc_ray.search.query import MOST_WINDOWS, query_spec
from vicc_ray.search.window_spec import WindowSpec


@pytest.mark.parametrize(
    ("backbone", "windows"), [("tiny", MOST_WINDOWS), ("s3d", 2), ("r2plus1d-18", 1)], ids=["tiny", "s3d", "r2plus1d"]
)
def test_a_larger_network_looks_at_fewer_windows(backbone: str, windows: int) -> None:
    spec = WindowSpec.of(ClipConfig(frames=32, size=128), 1.0, Config())
    seen = query_spec(spec, ModelConfig(backbone=backbone))
    assert seen.max_windows == windows <= spec.max_windows
    assert (seen.frames, seen.size, seen.overlap) == (spec.frames, spec.size, spec.overlap)


def test_whoever_has_the_time_looks_at_more_but_not_at_more_than_of_a_video_of_the_index() -> None:
    spec = WindowSpec.of(ClipConfig(frames=32, size=128), 1.0, Config())
    large = ModelConfig(backbone="r2plus1d-18")
    assert query_spec(spec, large, 7).max_windows == 7 <= spec.max_windows
    assert query_spec(spec, large, 10_000).max_windows == spec.max_windows
