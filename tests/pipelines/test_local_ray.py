from __future__ import annotations

import pytest
import ray

from vicc_ray.config import RayConfig
from vicc_ray.errors import UserError
from vicc_ray.pipelines.local_ray import ray_session


def test_ray_that_takes_too_long_to_start_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_slow(**_: object) -> None:
        raise Exception("The current node timed out during startup. This could happen because")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", too_slow)
    monkeypatch.setattr(ray, "shutdown", lambda: None)  # the session of the other tests
    message = r"^Ray did not start: The current node timed out.*machine is busy"
    with pytest.raises(UserError, match=message), ray_session(RayConfig()):
        pass
