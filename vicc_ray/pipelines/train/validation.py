"""Held-out retrieval of checkpoints as Ray Train validation: beside the training, on whatever CPUs or GPUs are free."""

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
"""What Ray Train keeps of a checkpoint: the name of ours, in the run's folder."""
MAX_LOCAL_VIDEOS = 512
"""Videos that one process embeds by itself: to start more takes as long as to embed some hundred small ones."""
DECISION_TIMEOUT_S = 300.0
"""Less than what other workers wait for one in a step (NCCL: 600 s)."""
POLL_INTERVAL_S = 0.2
RETRIES = 3
"""How often a validation whose machine goes away is begun again."""


def validation(run: Path, store: str, cpus: float) -> ValidationConfig:
    """How Ray Train is to validate the checkpoints that :func:`ask` names; ``cpus``: of each task that it begins."""
    return ValidationConfig(
        fn=score,
        task_config=ValidationTaskConfig(fn_kwargs={"run": str(run), "store": store, "cpus": cpus}),
        # The work is done by the tasks that it starts.
        ray_remote_kwargs={"num_cpus": 0, "max_retries": RETRIES, "scheduling_strategy": NO_PLACEMENT_GROUP},
    )


def ask(folder: RunDir, name: str, step: int) -> None:
    """Have the published checkpoint ``name`` scored; all workers call this at the same step, and none waits for it.

    To ask again for one whose wish went with a controller that ended costs nothing where Ray Train still knew of it:
    one is scored after the other, and one that has its score is left alone.
    """
    if rank() > 0:
        ray.train.report({"step": step})
        return
    with tempfile.TemporaryDirectory() as pointer:
        (Path(pointer) / POINTER).write_text(json.dumps({"checkpoint": name}))
        ray.train.report({"step": step}, checkpoint=Checkpoint.from_directory(pointer), validation=True)


def wait(folder: RunDir) -> None:
    """Until nobody holds the run any more, but no longer than :data:`DECISION_TIMEOUT_S`."""
    end = time.monotonic() + DECISION_TIMEOUT_S
    while folder.paused and time.monotonic() < end:
        time.sleep(POLL_INTERVAL_S)
    folder.pause_file.unlink(missing_ok=True)


def score(checkpoint: Checkpoint, **where: Any) -> dict[str, Any]:
    """R@1 of the network that was being trained when the checkpoint was made.

    It becomes a line of ``validation.jsonl``, and the checkpoint is kept for good if it is the best of its stream.

    Args:
        where: the run, the store, and CPUs of a task, as of :func:`validation`.
    """
    silence_ray()
    begun = time.perf_counter()
    with checkpoint.as_directory() as pointer:
        name = json.loads((Path(pointer) / POINTER).read_text())["checkpoint"]
    folder, opened = RunDir(where["run"]), ClipStore(where["store"])
    kept, config = folder.checkpoints.path / name, folder.config()
    held_out = ValidationSet.choose(opened.entries, config)
    if held_out is None or not folder.checkpoints.pending_validation(name):
        return {}
    state = read_state(kept)
    phase = build_phases(config.schedule)[state["phase"]]
    networks = {"it": StreamWeights(phase.stream, load_encoder_tensors(kept, phase.stream))}
    if len(held_out.entries) <= MAX_LOCAL_VIDEOS:
        embed_here = ModelActor(embedding_spec(networks, opened, held_out.entries, config, use_gpu=False))
        features = embed_here({"item": np.arange(len(held_out.entries))})
    else:
        tell = folder.restarts.record_wait
        features = embed(
            networks, opened, held_out.entries, config, False, only_free=True, cpus=where["cpus"], tell=tell
        )
    found = held_out.score(features["it"], config)
    low, high = found.interval
    line = {
        **{"step": state["step"], "epoch": round(state["epoch"]), "phase": phase.name, "stream": phase.stream},
        **{"recall_at_1": found.recall[1], "low": low, "high": high, "videos": found.queries, "chance": found.chance},
        "checkpoint": name,
        "seconds": time.perf_counter() - begun,
    }
    folder.checkpoints.keep_best(name, phase.stream, found.recall[1], held_out.fingerprint(config))
    append_line(folder.validation_file, line)
    folder.checkpoints.clear_pending(name)
    return {"recall_at_1": found.recall[1]}
