"""One Ray for all tests of the pipelines: starting it takes ten seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pipelines.prepared import RAY
from vicc_ray.pipelines.local_ray import ray_session


@pytest.fixture(scope="package", autouse=True)
def session() -> Iterator[None]:
    with ray_session(RAY):
        yield
