"""Fixtures of the pipeline tests: one Ray session for all, since a start takes ten seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipelines.prepared import RAY
from tests.pipelines.runs import settings
from vicc_ray.clip_store.remote_cache import CACHE_VARIABLE
from vicc_ray.pipelines.cluster.session import ray_session
from vicc_ray.pipelines.prepare.pipeline import prepare
from vicc_ray.video.synthetic.generate import Scene, make_videos


@pytest.fixture(scope="session", autouse=True)
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))  # Ray's workers inherit it
        with ray_session(RAY):
            yield


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clip store of 16 training and 4 test videos."""
    folder = tmp_path_factory.mktemp("data?of=all#%41")  # characters that a URL would escape
    make_videos(folder / "videos", classes=2, train=8, test=2, scene=Scene(side=32, frames=12))
    prepare(folder / "videos", folder / "store", settings(), progress=False)
    return folder / "store"
