"""Training worker: restores the newest checkpoint of a run and trains the phases that are left."""

from __future__ import annotations

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
from vicc_ray.pipelines.cluster.errors import last_line, user_error_in
from vicc_ray.pipelines.cluster.preemption import PreemptionPoller
from vicc_ray.pipelines.cluster.resources import DecodingShare, decoding_share
from vicc_ray.pipelines.cluster.task_waits import report_stalls
from vicc_ray.pipelines.train import validation
from vicc_ray.pipelines.train.loader import batches
from vicc_ray.pipelines.train.step_recorder import Step, StepRecorder, UnrecoverableError
from vicc_ray.runs import checkpoint_state
from vicc_ray.runs.async_checkpointer import AsyncCheckpointer
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.runs.schedule import Phase
from vicc_ray.training.distributed.collectives import all_gather_uneven, all_reduce_sum_, rank, world_size
from vicc_ray.training.monitoring.run_logger import RunLogger
from vicc_ray.training.tasks.base import Task
from vicc_ray.training.tasks.classification import Classification
from vicc_ray.training.tasks.pretraining import Pretraining
from vicc_ray.utils.fs import atomic_write
from vicc_ray.utils.jsonl import append_line


@dataclass(frozen=True)
class WorkerConfig:
    """Arguments of every worker, as the driver sends them."""

    task: str
    """Kind of the task, a key of :data:`TASKS`."""
    config: dict[str, Any]
    store: str
    run: str
    start_from: str | None
    command: str
    """Id of this launch, see :meth:`RestartLog.record_start`."""
    cpus_per_worker: float
    threads: int
    pause_for_pruning: bool
    """Whether to pause after each validation until the sweep has decided on pruning (:attr:`RunDir.pause_file`)."""
    cpus_are_shared: bool
    """Whether other jobs may hold CPUs that decoding waits for."""


TASKS: dict[str, Callable[[Config, ClipStore, RunDir], Task]] = {
    Pretraining.kind: lambda config, store, folder: Pretraining(config, store),
    Classification.kind: Classification,
}


def train_worker(arguments: dict[str, Any]) -> None:
    """Entry point of a Ray Train worker; ``arguments`` are the fields of :class:`WorkerConfig`."""
    worker_config = WorkerConfig(**arguments)
    torch.set_num_threads(worker_config.threads)
    folder = RunDir(worker_config.run)
    if folder.fatal_error_file.exists():  # another worker has found that a restart is useless
        return
    with folder.writing() if rank() == 0 else nullcontext():
        _train(worker_config, folder)


def _train(worker_config: WorkerConfig, folder: RunDir) -> None:
    try:
        Worker(worker_config).run()
    except UnrecoverableError as error:
        _abort_run(folder, error)
    except (UserError, RayTaskError) as error:
        # Ray raises a task's UserError as an error that is a UserError too, with the whole traceback as its text.
        reason = user_error_in(error) or (error if isinstance(error, UserError) else None)
        folder.restarts.record_error(last_line(reason or error))
        if reason is None:
            raise
        _abort_run(folder, reason)
        if world_size() > 1:  # the other workers wait for this one until Ray restarts them
            raise
    except Exception as error:
        folder.restarts.record_error(f"{type(error).__name__}: {last_line(error)}")
        raise


def _abort_run(folder: RunDir, reason: Exception) -> None:
    """Leave the reason to the driver, so that Ray Train does not restart a run that would fail at the same step."""
    atomic_write(folder.fatal_error_file, str(reason))


class Worker:
    """One worker of a run."""

    def __init__(self, worker_config: WorkerConfig) -> None:
        self.worker_config = worker_config
        self.config = Config.model_validate(worker_config.config)
        self.folder = RunDir(worker_config.run)
        self.start_from = Path(worker_config.start_from) if worker_config.start_from else None
        self.task = TASKS[worker_config.task](self.config, ClipStore(worker_config.store), self.folder)
        self.folder.check_inputs(self.task.inputs)  # the store may have grown since the run started
        self.sampler = self.task.sampler
        self.device = ray.train.torch.get_device()
        self.steps, self.restored_phase = 0, -1
        self.preemption = PreemptionPoller()
        self.writer = AsyncCheckpointer(
            self.folder.checkpoints,
            self.config.train.keep_last,
            partial(append_line, self.folder.checkpoints_file),
        )

    def run(self) -> None:
        """Train the phases that are left; none if the run has ended."""
        own = self.folder.checkpoints.newest()
        self._record_start(self.folder.step)
        self.trainer = self.task.trainer(self.device)
        self._restore(own)
        if own is not None and self._broadcast_first(self.folder.checkpoints.pending_validation(own.name)):
            self._request_validation(own.name)
        logger = None
        if rank() == 0:
            logger = RunLogger(self.folder, self.config, self.steps, self.start_from, self.task.diagnose)
        self.recorder = StepRecorder(self.task, logger, self.device)
        for phase in self.task.phases:
            if self.steps < self.sampler.first_step(phase.last_epoch):
                self._run_phase(phase)
        self.writer.wait()
        self.recorder.close(self.task.phases[-1], self.steps)

    def _record_start(self, step: int) -> None:
        """End a run that keeps failing without progress, on all workers; the first one counts."""
        restarts = self.folder.restarts
        failed = restarts.record_start(step, world_size(), self.worker_config.command) if rank() == 0 else 0
        failures = self._broadcast_first(failed)
        if failures > self.config.train.max_restarts_without_progress:
            raise UnrecoverableError(
                f"training failed {failures} times in a row after step {step} without reaching the next "
                f"checkpoint; the last error: {restarts.error or 'a process ended without one (out of memory?)'}. "
                "The run is kept, and the same command resumes it (train.max_restarts_without_progress: tries)"
            )

    def _broadcast_first(self, number: int) -> int:
        """The first worker's number, on all of them."""
        value = torch.tensor([int(number) if rank() == 0 else 0], device=self.device)
        all_reduce_sum_([value])
        return int(value)

    def _restore(self, own: Path | None) -> None:
        newest = own or self.start_from
        if newest is None:
            return
        state = checkpoint_state.read_state(newest)
        # Another run may have had other videos or another batch size: its epochs count, not its steps.
        self.steps = state["step"] if own else self.sampler.first_step(state["epoch"])
        self.restored_phase = state["phase"]
        checkpoint_state.load_model(newest, self.trainer)
        self._restored_from = newest

    def _run_phase(self, phase: Phase) -> None:
        self.trainer.start_phase(phase)
        if self.restored_phase == phase.index:
            checkpoint_state.load_progress(self._restored_from, self.trainer)
        self.recorder.start_phase(phase, self.steps)
        last_step = self.sampler.first_step(phase.last_epoch)
        started = time.perf_counter()
        for batch in self._batches(phase, last_step):
            step = self._run_step(phase, batch, time.perf_counter() - started)
            request = self._flush_metrics()  # of the step before, while this one keeps the device busy
            self.recorder.add(replace(step, seconds=time.perf_counter() - started))
            if self.steps < last_step:
                self._checkpoint_if_due(phase, request)
            started = time.perf_counter()
        self._flush_metrics()
        self._checkpoint(self.folder.checkpoints.phase(phase.index, phase.name), "end of phase", validate=True)

    def _batches(self, phase: Phase, last_step: int) -> Iterator[dict[str, Tensor]]:
        """This worker's batches of a phase, from the next step to its last one."""
        builder = self.task.builder(phase, rank(), world_size())
        on_node = ray.train.get_context().get_local_world_size()
        share = decoding_share(self.worker_config.cpus_per_worker, world_size(), on_node, self.config.ray.share)
        decoded = batches(builder, self.steps, last_step, share.cpus, share.memory, share.task_cpus)
        return self._report_waits(decoded, share)

    def _report_waits(self, batches: Iterator[dict[str, Tensor]], share: DecodingShare) -> Iterator[dict[str, Tensor]]:
        """The same batches; a line is logged when one is late because other jobs hold the CPUs."""
        shared = self.worker_config.cpus_are_shared and rank() == 0
        task = {"CPU": min(1.0, share.task_cpus, share.cpus)}
        with report_stalls(task, self.folder.restarts.record_wait, shared=shared) as stall:
            for batch in batches:
                stall.pause()
                yield batch
                stall.restart()

    def _run_step(self, phase: Phase, batch: dict[str, Tensor], waited: float) -> Step:
        torch.manual_seed(_mix(self.config.seed, self.steps, rank()))  # for layers that draw: no state to keep
        requested = float(rank() == 0 and self.folder.consume_checkpoint_request())
        flags = torch.tensor([waited, self.preemption.should_poll(), requested], device=self.device)
        all_reduce_sum_([flags])
        if self.config.train.log_sample_ids:
            self._record_samples(batch["videos"])
        metrics = self.trainer.step(batch, self.sampler.epoch_at(self.steps))
        self.steps += 1
        return Step(self.steps, phase, metrics, self.trainer.last_embeddings, waited, flags)

    def _flush_metrics(self) -> str:
        """Log the pending step.

        Returns:
            why a checkpoint is requested at once, "" if none is; the same on all workers.
        """
        step = self.recorder.flush()
        if step is None:
            return ""
        _, poll, requested = step.flags.tolist()
        if poll and self.preemption.preempted():
            return "preemption notice"
        return "requested" if requested else ""

    def _checkpoint_if_due(self, phase: Phase, request: str) -> None:
        """Write a checkpoint after a step: for a validation, on request, or every ``train.checkpoint_every_steps``."""
        every = self.config.train.validate_every_epochs
        epochs = self.sampler.epochs_before(self.steps) - phase.first_epoch
        validate = self.task.has_validation and self.sampler.ends_epoch(self.steps) and epochs % every == 0
        reason = "validation" if validate else request
        if self.steps % self.config.train.checkpoint_every_steps == 0:
            reason = reason or "checkpoint interval"
        if reason:
            self._flush_metrics()
            self._checkpoint(self.folder.checkpoints.step(self.steps), reason, validate)
            if reason == request:
                self.writer.wait()

    def _checkpoint(self, name: str, reason: str, validate: bool) -> None:
        validate = validate and self.task.has_validation
        if rank() == 0:
            epoch, inputs = self.sampler.epoch_at(self.steps), self.task.inputs.as_json()
            state = (self.trainer, self.steps, epoch, self.worker_config.config, inputs)
            self.writer.save(partial(checkpoint_state.take_snapshot, *state), name, reason, validate)
        if validate:
            self.writer.wait()
            self._request_validation(name)

    def _request_validation(self, name: str) -> None:
        pauses = self.worker_config.pause_for_pruning and rank() == 0
        if pauses:
            atomic_write(self.folder.pause_file, name)
        validation.request_validation(name, self.steps)
        if pauses:  # the other workers wait for this one in their next step
            validation.wait_for_decision(self.folder)

    def _record_samples(self, videos: Tensor) -> None:
        global_batch = all_gather_uneven(videos.to(self.device), sizes=self.trainer.sizes)
        if rank() == 0:
            line = {"step": self.steps + 1, "workers": world_size(), "videos": global_batch.tolist()}
            append_line(self.folder.samples_file, line)


def _mix(seed: int, step: int, worker: int) -> int:
    """Seed of torch for one step of one worker."""
    return hash((seed, step, worker)) & (2**63 - 1)
