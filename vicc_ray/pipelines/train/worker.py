"""What each training worker does: take up the run where its newest checkpoint left it and go on to the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray.train.torch
import torch
from ray.exceptions import RayTaskError
from torch import Tensor

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.method.objective import Metrics
from vicc_ray.pipelines.cluster.errors import last_line, user_error_in
from vicc_ray.pipelines.cluster.preemption import PreemptionPoller
from vicc_ray.pipelines.cluster.resources import DecodingShare, decoding_share
from vicc_ray.pipelines.cluster.task_waits import report_stalls
from vicc_ray.pipelines.train import validation
from vicc_ray.pipelines.train.loader import batches
from vicc_ray.runs import checkpoint_state
from vicc_ray.runs.async_checkpointer import AsyncCheckpointer
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.runs.schedule import Phase
from vicc_ray.training.distributed.collectives import all_gather_uneven, all_reduce_sum_, rank, world_size
from vicc_ray.training.monitoring.epoch_stats import CHOICES
from vicc_ray.training.monitoring.run_logger import RunLogger
from vicc_ray.training.tasks.base import Task
from vicc_ray.training.tasks.classification import Classification
from vicc_ray.training.tasks.pretraining import Pretraining
from vicc_ray.utils.fs import atomic_write
from vicc_ray.utils.jsonl import append_line


@dataclass(frozen=True)
class WorkerConfig:
    """What the driver hands to every worker."""

    task: str
    """Its kind, a key of :data:`TASKS`."""
    config: dict[str, Any]
    store: str
    run: str
    start_from: str | None
    command: str
    """Names the call of the command, see :meth:`RestartLog.record_start`."""
    cpus_per_worker: float
    threads: int
    pause_for_pruning: bool
    """Whether the training is held until somebody has decided by a score (:attr:`RunDir.pause_file`)."""
    cpus_are_shared: bool
    """Whether others may hold CPUs that decoding waits for."""


TASKS: dict[str, Callable[[Config, ClipStore, RunDir], Task]] = {
    Pretraining.kind: lambda config, store, folder: Pretraining(config, store),
    Classification.kind: Classification,
}


@dataclass(frozen=True)
class Step:
    """A step whose figures may still be on their way from the device."""

    number: int
    phase: Phase
    metrics: Metrics
    embeddings: Tensor | None
    """[B, D], see :class:`~vicc_ray.training.tasks.base.Trainer`."""
    waited: float
    """Seconds that this worker waited for the batch."""
    notes: Tensor
    """[3], added up over the workers: seconds that they waited for data; above 0: it is time to ask whether a machine
    goes; above 0: a checkpoint is requested."""
    seconds: float = 0.0
    """From the end of the step before to the end of this one, as this worker's host sees it."""


class UnrecoverableError(Exception):
    """It is of no use to begin again; raised by all workers at the same step."""


def train_worker(job: dict[str, Any]) -> None:
    """Entry point of a Ray Train worker; ``job`` holds the fields of :class:`WorkerConfig`."""
    given = WorkerConfig(**job)
    torch.set_num_threads(given.threads)
    folder = RunDir(given.run)
    if folder.fatal_error_file.exists():  # another worker has said why it is of no use to go on
        return
    with folder.writing() if rank() == 0 else nullcontext():
        _train(given, folder)


def _train(given: WorkerConfig, folder: RunDir) -> None:
    try:
        Worker(given).run()
    except UnrecoverableError as error:
        _abort_run(folder, error)
    except (UserError, RayTaskError) as error:
        # Ray's error of a task is a UserError too where the task's was, with the whole traceback as its text.
        reason = user_error_in(error) or (error if isinstance(error, UserError) else None)
        folder.restarts.record_error(last_line(reason or error))
        if reason is None:
            raise
        _abort_run(folder, reason)
        if world_size() > 1:  # the other workers wait for this one, until Ray ends them and begins anew
            raise
    except Exception as error:
        folder.restarts.record_error(f"{type(error).__name__}: {last_line(error)}")
        raise


def _abort_run(folder: RunDir, reason: Exception) -> None:
    """Leave the reason to the driver: it would come again at the same step, so Ray is not to try again."""
    atomic_write(folder.fatal_error_file, str(reason))


class Worker:
    """One worker's run through the phases that are left."""

    def __init__(self, job: WorkerConfig) -> None:
        self.job = job
        self.config = Config.model_validate(job.config)
        self.folder = RunDir(job.run)
        self.task = TASKS[job.task](self.config, ClipStore(job.store), self.folder)
        self.folder.check_inputs(self.task.inputs)  # the store may have grown since the run was begun
        self.sampler = self.task.sampler
        self.device = ray.train.torch.get_device()
        self.steps, self.restored_phase = 0, -1
        self.pending_step: Step | None = None
        self.preemption = PreemptionPoller()
        self.writer = AsyncCheckpointer(
            self.folder.checkpoints,
            self.config.train.keep_last,
            partial(append_line, self.folder.checkpoints_file),
        )

    def run(self) -> None:
        """Train what is left; nothing if the run has ended."""
        own = self.folder.checkpoints.newest()
        self._record_start(self.folder.step)
        self.trainer = self.task.trainer(self.device)
        self._restore(own)
        if own is not None and self._broadcast_first(self.folder.checkpoints.pending_validation(own.name)):
            self._request_validation(own.name)
        start_from = Path(self.job.start_from) if self.job.start_from else None
        self.journal = None
        if rank() == 0:
            self.journal = RunLogger(self.folder, self.config, self.steps, start_from, self.task.diagnose)
        for phase in self.task.phases:
            if self.steps < self.sampler.first_step(phase.last_epoch):
                self._run_phase(phase)
        self.writer.wait()
        if self.journal:
            self.journal.close(self.task.phases[-1], self.steps)

    def _record_start(self, step: int) -> None:
        """End a run that fails again and again where it began; on all workers, who hear it from the first."""
        restarts = self.folder.restarts
        failed = restarts.record_start(step, world_size(), self.job.command) if rank() == 0 else 0
        earlier = self._broadcast_first(failed)
        if earlier > self.config.train.max_restarts_without_progress:
            raise UnrecoverableError(
                f"training failed {earlier} times in a row after step {step} without getting to the next "
                f"checkpoint; the last error: {restarts.error or 'a process ended without one (out of memory?)'}. "
                "The run is kept: the same command goes on with it (train.max_restarts_without_progress: how often "
                "it tries)"
            )

    def _broadcast_first(self, number: int) -> int:
        """The first worker's number, on all of them."""
        found = torch.tensor([int(number) if rank() == 0 else 0], device=self.device)
        all_reduce_sum_([found])
        return int(found)

    def _restore(self, own: Path | None) -> None:
        newest = own or (Path(self.job.start_from) if self.job.start_from else None)
        if newest is None:
            return
        state = checkpoint_state.read_state(newest)
        # Another run may have had other videos or another batch: what counts is how many epochs it made.
        self.steps = state["step"] if own else self.sampler.first_step(state["epoch"])
        self.restored_phase = state["phase"]
        checkpoint_state.load_model(newest, self.trainer)
        self._restored_from = newest

    def _run_phase(self, phase: Phase) -> None:
        self.trainer.start_phase(phase)
        if self.restored_phase == phase.index:
            checkpoint_state.load_progress(self._restored_from, self.trainer)
        self.epoch_stats = self.task.epoch_stats(phase, self.device)
        if self.journal:
            self.journal.begin_phase(phase, self.steps)
        builder = self.task.builder(phase, rank(), world_size())
        stop = self.sampler.first_step(phase.last_epoch)
        neighbours = ray.train.get_context().get_local_world_size()
        share = decoding_share(self.job.cpus_per_worker, world_size(), neighbours, self.config.ray.share)
        begun = time.perf_counter()
        decoded = batches(builder, self.steps, stop, share.cpus, share.memory, share.task_cpus)
        for batch in self._report_waits(decoded, share):
            step = self._run_step(phase, batch, time.perf_counter() - begun)
            asked_for = self._flush_metrics()  # of the step before, while this one keeps the device busy
            self.pending_step = replace(step, seconds=time.perf_counter() - begun)
            if self.steps < stop:
                self._checkpoint_if_due(phase, asked_for)
            begun = time.perf_counter()
        self._flush_metrics()
        self._keep(self.folder.checkpoints.phase(phase.index, phase.name), "end of phase", scored=True)

    def _report_waits(self, batches: Iterator[dict[str, Tensor]], share: DecodingShare) -> Iterator[dict[str, Tensor]]:
        """The same, and a line where one does not come since others hold the CPUs."""
        shared, task = self.job.cpus_are_shared and rank() == 0, {"CPU": min(1.0, share.task_cpus, share.cpus)}
        with report_stalls(task, self.folder.restarts.record_wait, shared=shared) as stall:
            for batch in batches:
                stall.pause()
                yield batch
                stall.restart()

    def _run_step(self, phase: Phase, batch: dict[str, Tensor], waited: float) -> Step:
        torch.manual_seed(_mix(self.config.seed, self.steps, rank()))  # for layers that draw: no state to keep
        requested = float(rank() == 0 and self.folder.consume_checkpoint_request())
        notes = torch.tensor([waited, self.preemption.should_poll(), requested], device=self.device)
        all_reduce_sum_([notes])
        if self.config.train.log_sample_ids:
            self._record_samples(batch["videos"])
        metrics = self.trainer.step(batch, self.sampler.epoch_at(self.steps))
        self.steps += 1
        return Step(self.steps, phase, metrics, self.trainer.last_embeddings, waited, notes)

    def _flush_metrics(self) -> str:
        """Record the last step that was not, once the device is done with it; stop at figures that are no numbers.

        Returns:
            why a checkpoint is wanted at once, "" if it is not; the same on all workers.
        """
        if self.pending_step is None:
            return ""
        step, self.pending_step = self.pending_step, None
        waited, ask, requested = step.notes.tolist()
        values = {name: float(value) for name, value in step.metrics.items() if name != CHOICES}
        self._record(step, values, waited / world_size())
        if not math.isfinite(values["loss"]) or not math.isfinite(values["gradient_norm"]):
            raise UnrecoverableError(
                f"the loss is {values['loss']:g} and the norm of its gradients {values['gradient_norm']:g} at step "
                f"{step.number} (phase {step.phase.name}): training has diverged. {self.task.divergence_hint}, "
                "and start in another output folder"
            )
        if ask and self.preemption.preempted():
            return "a machine is taken away"
        return "requested" if requested else ""

    def _checkpoint_if_due(self, phase: Phase, asked_for: str) -> None:
        """Checkpoints between two steps: those to be scored, those by the settings, and those that are asked for."""
        every = self.config.train.validate_every_epochs
        epochs = self.sampler.epochs_before(self.steps) - phase.first_epoch
        scored = self.task.has_validation and self.sampler.ends_epoch(self.steps) and epochs % every == 0
        why = "to be scored" if scored else asked_for
        if self.steps % self.config.train.checkpoint_every_steps == 0:
            why = why or "every so many steps"
        if why:
            self._flush_metrics()
            self._keep(self.folder.checkpoints.step(self.steps), why, scored)
            if why == asked_for:
                self.writer.wait()

    def _keep(self, name: str, why: str, scored: bool) -> None:
        scored = scored and self.task.has_validation
        if rank() == 0:
            epoch = self.sampler.epoch_at(self.steps)
            inputs = self.task.inputs.as_json()
            take = partial(checkpoint_state.take_snapshot, self.trainer, self.steps, epoch, self.job.config, inputs)
            self.writer.save(take, name, why, scored)
        if scored:
            self.writer.wait()
            self._request_validation(name)

    def _request_validation(self, name: str) -> None:
        holds = self.job.pause_for_pruning and rank() == 0
        if holds:
            atomic_write(self.folder.pause_file, name)
        validation.ask(self.folder, name, self.steps)
        if holds:  # the other workers wait for this one in their next step
            validation.wait(self.folder)

    def _record(self, step: Step, values: dict[str, float], waited_s: float) -> None:
        self.epoch_stats.add(step.metrics, step.embeddings, step.waited, step.seconds - step.waited)
        if self.journal:
            place = {
                "step": step.number,
                "epoch": self.sampler.epochs_before(step.number - 1),
                "phase": step.phase.name,
            }
            self.journal.step(
                {
                    **place,
                    **{"stage": step.phase.stage, "stream": step.phase.stream},
                    **values,
                    **self.task.step_constants(step.phase),
                    **{"data_ms": 1000 * waited_s, "compute_ms": 1000 * (step.seconds - step.waited)},
                    "samples_per_s": self.sampler.batch / step.seconds,
                    "workers": world_size(),
                }
            )
        if self.sampler.ends_epoch(step.number):
            figures = self.epoch_stats.summary()
            if self.journal:
                self.journal.end_epoch(step.phase, step.number, self.sampler.epochs_before(step.number), figures)

    def _record_samples(self, videos: Tensor) -> None:
        all_processes = all_gather_uneven(videos.to(self.device), sizes=self.trainer.sizes)
        if rank() == 0:
            line = {"step": self.steps + 1, "workers": world_size(), "videos": all_processes.tolist()}
            append_line(self.folder.samples_file, line)


def _mix(seed: int, step: int, worker: int) -> int:
    """A seed of torch for one step of one worker."""
    return hash((seed, step, worker)) & (2**63 - 1)
