"""Number of windows of a query, limited by the cost of the network."""

from __future__ import annotations

import pytest

from vicc_ray.config import ClipConfig, Config, ModelConfig
from vicc_ray.search.query import MOST_WINDOWS, query_spec
from vicc_ray.search.window_spec import WindowSpec


@pytest.mark.parametrize(
    ("backbone", "windows"), [("tiny", MOST_WINDOWS), ("s3d", 2), ("r2plus1d-18", 1)], ids=["tiny", "s3d", "r2plus1d"]
)
def test_a_larger_network_uses_fewer_windows(backbone: str, windows: int) -> None:
    spec = WindowSpec.of(ClipConfig(frames=32, size=128), 1.0, Config())
    query = query_spec(spec, ModelConfig(backbone=backbone))
    assert query.max_windows == windows <= spec.max_windows
    assert (query.frames, query.size, query.overlap) == (spec.frames, spec.size, spec.overlap)


def test_the_number_of_windows_can_be_raised_to_that_of_the_index() -> None:
    spec = WindowSpec.of(ClipConfig(frames=32, size=128), 1.0, Config())
    large = ModelConfig(backbone="r2plus1d-18")
    assert query_spec(spec, large, 7).max_windows == 7 <= spec.max_windows
    assert query_spec(spec, large, 10_000).max_windows == spec.max_windows
