"""One trial of a sweep, in a process that Ray Tune starts: its stage 1 if nobody made it yet, then its stage 2."""

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
"""Seconds between looks for a new score."""


def run_trial(given: dict[str, Any]) -> None:
    """Train as the folder's config.yaml says and report each score, then that it has ended.

    Args:
        given: ``folder``, ``store`` and ``stage1`` as text; ``prunes``: whether a score may end it, so that it waits
            for its scores.
    """
    silence_ray()
    folder, store = TrialDir(Path(given["folder"])), given["store"]
    config = load_config(str(folder.config_file))
    try:
        start_from = ensure_stage1(config, store, Path(given["stage1"]))
        with background_thread(partial(_report, folder.run)):
            pretrain(config, store, folder.run.path, start_from, progress=False, pause_for_pruning=given["prunes"])
    except UserError as error:  # it would come again: not for Tune to repeat
        tune.report({"ended": True, "failure": str(error)})
        return
    tune.report({"ended": True, "failure": ""})


def ensure_stage1(config: Config, store: str, folder: Path) -> Path | None:
    """The last checkpoint of the stage 1 that ``config`` begins with, trained if need be by the first who asks.

    Raises:
        UserError: it cannot be trained.
    """
    stage1 = stage1_of(config)
    if stage1 is None:
        return None
    key = stage1_key(stage1, ClipStore(store))
    with file_lock(folder / f".{key}.lock"):
        return pretrain(stage1, store, folder / key, progress=False)


def _report(run: RunDir, over: threading.Event) -> None:
    """Report scores as they come, and at the end those that are there; let a run go on that is held for one.

    Tune's report returns once it is decided that the trial goes on, and not at all where it does not: a trial that is
    ended by a score has made no step after it.
    """
    told, looked_at = -1, -1
    ending = False
    while not ending:
        ending = over.wait(POLL_INTERVAL_S)
        scored = run.paused and not run.checkpoints.pending_validation(run.paused)
        size = run.validation_file.stat().st_size if run.validation_file.exists() else 0
        if size != looked_at:
            looked_at = size
            for score in read_curve(run):
                if score.epoch > told:
                    told = score.epoch
                    tune.report({"epoch": score.epoch, "recall_at_1": score.recall_at_1})
        if scored:
            run.pause_file.unlink(missing_ok=True)
