"""Impossible resource requests are refused before Ray Train or Tune starts; waits report what they wait for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import ray

from tests.pipelines.prepared import write_videos
from tests.pipelines.processes import DEADLINE_S
from tests.pipelines.runs import losses, rgb_only, settings
from tests.pipelines.sweeps import sweep_file
from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster import placement_waits, task_waits
from vicc_ray.pipelines.cluster.task_waits import report_stalls, wait_for_resources
from vicc_ray.pipelines.end_to_end import run_end_to_end
from vicc_ray.pipelines.sweep.run import run_sweep
from vicc_ray.pipelines.train.pretrain import pretrain
from vicc_ray.runs.checkpoint_state import FORMAT, STATE
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.runs.schedule import build_phases
from vicc_ray.sweep.config import load_sweep
from vicc_ray.utils.jsonl import read_lines

AT_ONCE_S = 20.0
"""Limit of a refusal: far less than a failing start of Ray Train takes, even on a busy machine."""


@pytest.mark.parametrize(
    ("train", "setting"),
    [
        ({"cpus_per_worker": 2}, "train.cpus_per_worker"),
        ({"cpus_per_worker": 4}, "train.cpus_per_worker"),
        ({"num_workers": 2, "cpus_per_worker": 1.5}, "train.num_workers"),
        ({"num_workers": {"min": 1, "max": 2}, "cpus_per_worker": 1}, "train.cpus_per_worker"),
        ({"use_gpu": "yes"}, "train.use_gpu"),
    ],
)
def test_training_that_cannot_fit_is_refused_at_once(
    store: Path, tmp_path: Path, train: dict[str, Any], setting: str
) -> None:
    start = time.monotonic()
    with pytest.raises(UserError, match=setting):
        pretrain(settings(train=train), store, tmp_path, progress=False)
    assert time.monotonic() - start < AT_ONCE_S
    assert not RunDir(tmp_path).restarts.workers()


def test_job_that_cannot_fit_is_refused_before_videos_are_prepared(tmp_path: Path) -> None:
    videos = write_videos(tmp_path / "videos", *(f"{number}.mp4" for number in range(6)))
    with pytest.raises(UserError, match=r"train\.cpus_per_worker"):
        run_end_to_end(settings(train={"cpus_per_worker": 4}), videos, tmp_path / "out", progress=False)
    assert not (tmp_path / "out" / "store").exists()


def test_job_with_completed_training_needs_no_training_resources(tmp_path: Path) -> None:
    """The run folder holds only the last phase's state file, so evaluation and report fail afterwards."""
    videos, out = write_videos(tmp_path / "videos", *(f"{number}.mp4" for number in range(6))), tmp_path / "out"
    config = settings(train={"cpus_per_worker": 4})
    last = build_phases(config.schedule)[-1]
    checkpoint = RunDir(out / "run").phase_checkpoint(last.index, last.name)
    checkpoint.mkdir(parents=True)
    (checkpoint / STATE).write_text(json.dumps({"format": FORMAT, "step": 10**6}))
    with suppress(UserError, OSError, KeyError):
        run_end_to_end(config, videos, out, progress=False)
    assert (out / "store").exists()


@pytest.mark.parametrize(
    ("resources", "setting"),
    [({"cpus": 8}, r"resources_per_trial\.cpus: 8"), ({"gpus": 1}, r"resources_per_trial\.gpus: 1")],
)
def test_sweep_that_cannot_fit_is_refused_before_its_first_trial(
    store: Path, tmp_path: Path, resources: dict[str, float], setting: str
) -> None:
    file = sweep_file(tmp_path, resources_per_trial=resources)
    start = time.monotonic()
    with pytest.raises(UserError, match=setting):
        run_sweep(load_sweep(file), store, tmp_path / "sweep", progress=False)
    assert time.monotonic() - start < AT_ONCE_S


class Holder:
    """Actor that holds CPUs."""

    def ready(self) -> None:
        """Return once the actor runs."""


@contextmanager
def occupied(cpus: float) -> Iterator[None]:
    """Hold CPUs while the block runs."""
    holder: Any = ray.remote(num_cpus=cpus)(Holder).remote()
    ray.get(holder.ready.remote())
    try:
        yield
    finally:
        ray.kill(holder)


def until(condition: Any) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_training_reports_its_wait_for_occupied_cpus_and_starts_when_they_are_free(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(placement_waits, "REPORT_AFTER_S", 1.0)
    restarts = RunDir(tmp_path).restarts
    with ThreadPoolExecutor(1) as pool:
        with occupied(2):
            run = pool.submit(pretrain, rgb_only(1), store, tmp_path, progress=False)
            until(lambda: run.done() or (restarts.file.exists() and "waits_for" in restarts.file.read_text()))
        run.result()
    (line,) = [line["waits_for"] for line in read_lines(restarts.file) if "waits_for" in line]
    assert "CPU 1" in line and "CPU 0 of 2" in line
    assert [line in record.getMessage() for record in caplog.records].count(True) == 1, "without a display on stderr"
    assert len(losses(tmp_path)) == 4


def test_waiting_tasks_are_reported_with_the_free_resources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_waits, "owns_session", lambda: False)  # as in a joined cluster
    monkeypatch.setattr(task_waits, "REPORT_AFTER_S", 0.5)
    reports: list[str] = []
    wait_for_resources({"CPU": 1.0}, reports.append)
    assert not reports
    with ThreadPoolExecutor(1) as pool:
        with occupied(2):
            room = pool.submit(wait_for_resources, {"CPU": 1.0}, reports.append)
            until(lambda: room.done() or reports)
            with report_stalls({"CPU": 1.0}, reports.append, after_s=0.5) as stall:
                until(lambda: len(reports) == 2)
                stall.restart()
                until(lambda: len(reports) == 3)  # one report per wait
            assert not room.done()
        room.result()
    assert all("CPU 1" in text and "CPU 0 of 2" in text for text in reports)
