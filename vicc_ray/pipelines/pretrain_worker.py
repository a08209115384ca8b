"""What each training worker does: take up the run where its newest checkpoint left it and go on to the end."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
from ray.exceptions import RayTaskError

from vicc_ray.config import Config, Stream
from vicc_ray.files import atomic_write
from vicc_ray.pipelines.ingest import batches
from vicc_ray.pipelines.ray_errors import user_error_in
from vicc_ray.training import checkpoint
from vicc_ray.training.batch_maker import BatchMaker
from vicc_ray.training.group import average_, rank, world_size
from vicc_ray.training.held_out import HeldOut
from vicc_ray.training.plan import Plan
from vicc_ray.training.pretrainer import Pretrainer
from vicc_ray.training.run_folder import RunFolder
from vicc_ray.training.schedule import Turn, turns
from vicc_ray.video.store import ClipStore


@dataclass(frozen=True)
class Job:
    """What the driver hands to every worker."""

    config: dict[str, Any]
    store: str
    run: str
    start_from: str | None
    decode_cpus: float
    decode_memory: int
    threads: int


def train_worker(job: dict[str, Any]) -> None:
    """Entry point of a Ray Train worker; ``job`` holds the fields of :class:`Job`."""
    given = Job(**job)
    torch.set_num_threads(given.threads)
    try:
        with RunFolder(given.run).writing() if rank() == 0 else nullcontext():
            Worker(given).run()
    except FloatingPointError as error:  # on all workers at once
        _end_for_good(given, error)
    except RayTaskError as error:
        reason = user_error_in(error)
        if reason is None or world_size() > 1:  # the other workers wait for this one until Ray ends them all
            raise
        _end_for_good(given, reason)


def _end_for_good(job: Job, reason: Exception) -> None:
    """Leave the reason to the driver: it would come again at the same step, so Ray is not to try again."""
    if rank() == 0:
        atomic_write(RunFolder(job.run).failure_file, str(reason))


class Worker:
    """One worker's run through the turns that are left."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.config = Config.model_validate(job.config)
        self.folder = RunFolder(job.run)
        self.store = ClipStore(job.store)
        self.videos = self.store.entries.for_training
        self.plan = Plan(len(self.videos), self.config.train.batch, self.config.seed)
        self.held_out = HeldOut.choose(self.store, self.config)
        self.device = ray.train.torch.get_device()
        self.pretrainer = Pretrainer(self.config, self.device)
        self.turns = turns(self.config.schedule)
        self.steps = 0
        self.restored_turn = -1

    def run(self) -> None:
        """Train what is left; nothing if the run has ended."""
        self._restore()
        for turn in self.turns:
            if self.steps < self.plan.first_step(turn.last_epoch):
                self._run_turn(turn)

    def _restore(self) -> None:
        own = self.folder.newest()
        newest = own or (Path(self.job.start_from) if self.job.start_from else None)
        if newest is None:
            return
        state = checkpoint.read_state(newest)
        # Another run may have had other videos or another batch: what counts is how many epochs it made.
        self.steps = state["step"] if own else self.plan.first_step(state["epoch"])
        self.restored_turn = state["turn"]
        checkpoint.load_model(newest, self.pretrainer)
        self._restored_from = newest
        if rank() == 0:
            self.folder.rewind(self.steps)

    def _run_turn(self, turn: Turn) -> None:
        self.pretrainer.start_turn(turn)
        if self.restored_turn == turn.index:
            checkpoint.load_progress(self._restored_from, self.pretrainer)
        streams: tuple[Stream, ...] = ("rgb", "flow") if turn.cross else (turn.stream,)
        maker = BatchMaker(self.store, self.videos, self.plan, self.config.clip, streams, rank(), world_size())
        stop, given = self.plan.first_step(turn.last_epoch), self.job
        waited = time.perf_counter()
        for batch in batches(maker, self.steps, stop, given.decode_cpus, given.decode_memory):
            self._step(turn, batch, waited, last=self.steps + 1 == stop)
            waited = time.perf_counter()
        self._save(self.folder.turn_checkpoint(turn.index, turn.name).name, prune=False)

    def _step(self, turn: Turn, batch: dict[str, torch.Tensor], waited: float, last: bool) -> None:
        """One step, its record, and whatever is due after it; ``last``: of its turn."""
        begun = time.perf_counter()
        metrics = self.pretrainer.step(batch, self.plan.epoch_at(self.steps))
        values = {name: float(value) for name, value in metrics.items()}
        self.steps += 1
        self._record(turn, values, data_s=begun - waited, step_s=time.perf_counter() - begun)
        if not torch.isfinite(torch.tensor(values["loss"])):
            raise FloatingPointError(
                f"the loss is {values['loss']} at step {self.steps} (turn {turn.name}): training has diverged. "
                "Lower optimiser.learning_rate or raise optimiser.warmup_epochs, and start in another output folder"
            )
        every = self.config.train.evaluate_epochs
        epochs = self.plan.epochs_before(self.steps)
        if self.plan.ends_epoch(self.steps) and every and (last or (epochs - turn.first_epoch) % every == 0):
            self._evaluate(turn)
        if self.steps % self.config.train.checkpoint_steps == 0 and not last:
            self._save(f"step-{self.steps:08d}", prune=True)

    def _record(self, turn: Turn, values: dict[str, float], data_s: float, step_s: float) -> None:
        waits = torch.tensor([data_s, step_s], device=self.device)
        average_([waits])
        if rank() == 0:
            data_ms, step_ms = (1000 * float(v) for v in waits)
            line = {
                **{"step": self.steps, "epoch": self.plan.epochs_before(self.steps - 1), "turn": turn.name},
                **{"stage": turn.stage, "stream": turn.stream},
                **values,
                "ln_k": float(torch.tensor(float(self.config.method.prototypes)).log()),
                **{"data_ms": data_ms, "step_ms": step_ms},
                "samples_per_s": 1000 * self.config.train.batch / (data_ms + step_ms),
                "workers": world_size(),
            }
            _append(self.folder.metrics_file, line)

    def _evaluate(self, turn: Turn) -> None:
        if self.held_out is None:
            return
        found = self.held_out.score(self.pretrainer.encoders[turn.stream], turn.stream, self.config, self.device)
        low, high = found.interval
        line = {
            **{
                "step": self.steps,
                "epoch": self.plan.epochs_before(self.steps),
                "turn": turn.name,
                "stream": turn.stream,
            },
            **{"recall_at_1": found.recall[1], "low": low, "high": high, "videos": found.queries},
        }
        if rank() == 0:
            _append(self.folder.evaluations_file, line)
        ray.train.report({"step": self.steps, "turn": turn.name, "recall_at_1": found.recall[1]})

    def _save(self, name: str, prune: bool) -> None:
        if rank() == 0:
            with self.folder.publish(name) as aside:
                checkpoint.save(aside, self.pretrainer, self.steps, self.plan.epoch_at(self.steps), self.job.config)
            if prune:
                self.folder.prune(self.config.train.keep_checkpoints)


def _append(file: Path, line: dict[str, Any]) -> None:
    with file.open("a") as out:
        out.write(json.dumps({k: round(v, 7) if isinstance(v, float) else v for k, v in line.items()}) + "\n")
