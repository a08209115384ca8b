"""Validation of checkpoints by Ray Train: retrieval on held-out videos while training goes on, on free CPUs or GPUs."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
from ray.train import Checkpoint, ValidationConfig, ValidationTaskConfig

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.pipelines.cluster.capacity import NO_PLACEMENT_GROUP
from vicc_ray.pipelines.cluster.session import silence_ray
from vicc_ray.pipelines.inference.embed import StreamWeights, embed, embedding_spec
from vicc_ray.pipelines.inference.model_actor import ModelActor
from vicc_ray.runs.checkpoint_state import load_encoder_tensors, read_state
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.runs.schedule import build_phases
from vicc_ray.training.distributed.collectives import rank
from vicc_ray.training.validation.evaluator import ValidationSet
from vicc_ray.utils.jsonl import append_line

POINTER = "checkpoint.json"
"""Content of a Ray Train checkpoint: the name of the real one in the run's folder."""
MAX_LOCAL_VIDEOS = 512
"""Videos that the validation task embeds by itself; starting more processes takes as long as some hundred videos."""
DECISION_TIMEOUT_S = 300.0
"""Pause of the first worker at most; the others wait for it in a collective (NCCL: 600 s)."""
POLL_INTERVAL_S = 0.2
RETRIES = 3
"""Retries of a validation task whose node is lost."""


def validation_config(run: Path, store: str, cpus: float) -> ValidationConfig:
    """Ray Train's config for the checkpoints that :func:`request_validation` names.

    Args:
        cpus: of each task that a validation starts.
    """
    return ValidationConfig(
        fn=validate,
        task_config=ValidationTaskConfig(fn_kwargs={"run": str(run), "store": store, "cpus": cpus}),
        # 0 CPUs: the tasks that it starts do the work.
        ray_remote_kwargs={"num_cpus": 0, "max_retries": RETRIES, "scheduling_strategy": NO_PLACEMENT_GROUP},
    )


def request_validation(name: str, step: int) -> None:
    """Report the committed checkpoint ``name`` for validation; all workers call this at the same step, none waits.

    A request is lost with a controller that dies, and made again. If Ray Train still had it, the second one does
    nothing: checkpoints are validated one after the other, and one that has a score is skipped.
    """
    if rank() > 0:
        ray.train.report({"step": step})
        return
    with tempfile.TemporaryDirectory() as pointer:
        (Path(pointer) / POINTER).write_text(json.dumps({"checkpoint": name}))
        ray.train.report({"step": step}, checkpoint=Checkpoint.from_directory(pointer), validation=True)


def wait_for_decision(folder: RunDir) -> None:
    """Wait until the run is no longer paused, :data:`DECISION_TIMEOUT_S` at most."""
    end = time.monotonic() + DECISION_TIMEOUT_S
    while folder.paused and time.monotonic() < end:
        time.sleep(POLL_INTERVAL_S)
    folder.pause_file.unlink(missing_ok=True)


def validate(checkpoint: Checkpoint, **arguments: Any) -> dict[str, Any]:
    """R@1 of the encoder that was being trained when the checkpoint was written.

    Appends a line to ``validation.jsonl``, and keeps the checkpoint for good if it is the best of its stream.

    Args:
        arguments: run, store and CPUs of a task, as :func:`validation_config` sends them.
    """
    silence_ray()
    started = time.perf_counter()
    with checkpoint.as_directory() as pointer:
        name = json.loads((Path(pointer) / POINTER).read_text())["checkpoint"]
    folder, store = RunDir(arguments["run"]), ClipStore(arguments["store"])
    path, config = folder.checkpoints.path / name, folder.config()
    videos = ValidationSet.choose(store.entries, config)
    if videos is None or not folder.checkpoints.pending_validation(name):
        return {}
    state = read_state(path)
    phase = build_phases(config.schedule)[state["phase"]]
    network = StreamWeights(phase.stream, load_encoder_tensors(path, phase.stream))
    result = videos.score(_embed(network, store, videos, folder, arguments["cpus"]), config)
    low, high = result.interval
    line = {
        **{"step": state["step"], "epoch": round(state["epoch"]), "phase": phase.name, "stream": phase.stream},
        **{"recall_at_1": result.recall[1], "low": low, "high": high},
        **{"videos": result.queries, "chance": result.chance},
        "checkpoint": name,
        "seconds": time.perf_counter() - started,
    }
    folder.checkpoints.keep_best(name, phase.stream, result.recall[1], videos.fingerprint(config))
    append_line(folder.validation_file, line)
    folder.checkpoints.clear_pending(name)
    return {"recall_at_1": result.recall[1]}


def _embed(network: StreamWeights, store: ClipStore, videos: ValidationSet, folder: RunDir, cpus: float) -> np.ndarray:
    """Features of the validation videos: few in this process, many by tasks."""
    networks, config = {"encoder": network}, folder.config()
    if len(videos.entries) <= MAX_LOCAL_VIDEOS:
        actor = ModelActor(embedding_spec(networks, store, videos.entries, config, use_gpu=False))
        features: dict[str, np.ndarray] = actor({"item": np.arange(len(videos.entries))})
    else:
        tell = folder.restarts.record_wait
        features = embed(networks, store, videos.entries, config, False, only_free=True, cpus=cpus, tell=tell)
    return features["encoder"]
