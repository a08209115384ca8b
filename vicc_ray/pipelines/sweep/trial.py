"""Trial of a sweep, in a Ray Tune process: trains the shared stage 1 if it does not exist yet, then its stage 2."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config
from vicc_ray.config.loader import load_config
from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster.session import silence_ray
from vicc_ray.pipelines.train.pretrain import pretrain
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.sweep.shared_stage1 import stage1_key, stage1_of
from vicc_ray.sweep.trial import TrialDir, read_curve
from vicc_ray.utils.background_thread import background_thread
from vicc_ray.utils.fs import file_lock

POLL_INTERVAL_S = 0.5
"""Seconds between polls for a new score."""


def run_trial(params: dict[str, Any]) -> None:
    """Trainable of Tune: train with the folder's config.yaml, and report each score and the end.

    Args:
        params: ``folder``, ``store`` and ``stage1`` as text; ``prunes``: whether a score may prune the trial, which
            then pauses for each decision.
    """
    silence_ray()
    folder, store = TrialDir(Path(params["folder"])), params["store"]
    config = load_config(str(folder.config_file))
    try:
        start_from = ensure_stage1(config, store, Path(params["stage1"]))
        with background_thread(partial(_report, folder.run)):
            pretrain(config, store, folder.run.path, start_from, progress=False, pause_for_pruning=params["prunes"])
    except UserError as error:  # a retry would repeat it, so Tune must not see it as a failure
        tune.report({"ended": True, "failure": str(error)})
        return
    tune.report({"ended": True, "failure": ""})


def ensure_stage1(config: Config, store: str, folder: Path) -> Path | None:
    """Last checkpoint of the stage 1 that ``config`` starts with. The first trial that needs it trains it.

    Raises:
        UserError: its training failed.
    """
    stage1 = stage1_of(config)
    if stage1 is None:
        return None
    key = stage1_key(stage1, ClipStore(store))
    with file_lock(folder / f".{key}.lock"):
        return pretrain(stage1, store, folder / key, progress=False)


def _report(run: RunDir, stop: threading.Event) -> None:
    """Report new scores until ``stop`` is set, and resume a run that pauses for one.

    Tune's report returns once the scheduler decides to continue, and never for a pruned trial: so a pruned trial makes
    no step after the score that ended it.
    """
    reported_epoch, file_size = -1, -1
    ending = False
    while not ending:
        ending = stop.wait(POLL_INTERVAL_S)
        scored = run.paused and not run.checkpoints.pending_validation(run.paused)
        size = run.validation_file.stat().st_size if run.validation_file.exists() else 0
        if size != file_size:
            file_size = size
            for score in read_curve(run):
                if score.epoch > reported_epoch:
                    reported_epoch = score.epoch
                    tune.report({"epoch": score.epoch, "recall_at_1": score.recall_at_1})
        if scored:
            run.pause_file.unlink(missing_ok=True)
