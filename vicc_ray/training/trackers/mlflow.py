"""MLflow tracker: logs to the server of MLFLOW_TRACKING_URI, or to RUN/mlflow.db without one."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from vicc_ray.config import Config
from vicc_ray.config.messages import setting_names
from vicc_ray.training.trackers.database import sqlite_address
from vicc_ray.training.trackers.run_id import persistent_run_id

EXPERIMENT = "vicc-ray"
PARAMS_AT_ONCE = 100
"""Limit of MLflow for one call."""


class MLflow:
    """MLflow tracker, with the settings as parameters. A resumed run continues its MLflow run."""

    def __init__(self, run: Path, config: Config, resumed_at: int) -> None:
        uri = os.environ.get("MLFLOW_TRACKING_URI") or sqlite_address(run.resolve() / "mlflow.db")
        self._client = MlflowClient(uri)
        self._id = persistent_run_id(run, "mlflow", lambda: self._new_run(config))
        self._client.update_run(self._id, status="RUNNING")

    def _new_run(self, config: Config) -> str:
        known = self._client.get_experiment_by_name(EXPERIMENT)
        experiment = known.experiment_id if known else self._client.create_experiment(EXPERIMENT)
        run_id = str(self._client.create_run(experiment, run_name=config.name).info.run_id)
        settings = iter([Param(name, str(_value(config, name))) for name in setting_names()])
        while part := list(islice(settings, PARAMS_AT_ONCE)):
            self._client.log_batch(run_id, params=part)
        return run_id

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See :class:`vicc_ray.training.trackers.async_tracker.Tracker`."""
        now = int(1000 * time.time())
        self._client.log_batch(self._id, metrics=[Metric(name, value, now, step) for name, value in values.items()])

    def close(self) -> None:
        """Mark the run as finished."""
        self._client.set_terminated(self._id)


def _value(config: Config, name: str) -> object:
    section, _, leaf = name.rpartition(".")
    return getattr(getattr(config, section) if section else config, leaf)
