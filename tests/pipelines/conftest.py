"""One Ray for all tests of the pipelines: starting it takes ten seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pipelines.prepared import RAY
from vicc_ray.pipelines.local_ray import ray_session
from vicc_ray.video.mirror import CACHE_VARIABLE


@pytest.fixture(scope="session", autouse=True)
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))  # Ray's workers inherit it
        with ray_session(RAY):
            yield
