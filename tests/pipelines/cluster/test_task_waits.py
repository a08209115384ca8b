"""What can never be is refused before Ray Train or Tune begins, and what waits for others says for what."""

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

from tests.pipelines.prepared import films
from tests.pipelines.processes import DEADLINE_S
from tests.pipelines.runs import losses, rgb_alone, settings
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
"""Far less than a start of Ray Train takes to fail, and the tests' machine may be busy."""


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
def test_a_training_that_never_fits_is_refused_at_once(
    store: Path, tmp_path: Path, train: dict[str, Any], setting: str
) -> None:
    begun = time.monotonic()
    with pytest.raises(UserError, match=setting):
        pretrain(settings(train=train), store, tmp_path, progress=False)
    assert time.monotonic() - begun < AT_ONCE_S
    assert not RunDir(tmp_path).restarts.workers()


def test_the_whole_job_is_refused_before_its_videos_are_prepared(tmp_path: Path) -> None:
    videos = films(tmp_path / "videos", *(f"{number}.mp4" for number in range(6)))
    with pytest.raises(UserError, match=r"train\.cpus_per_worker"):
        run_end_to_end(settings(train={"cpus_per_worker": 4}), videos, tmp_path / "out", progress=False)
    assert not (tmp_path / "out" / "store").exists()


def test_a_job_whose_training_has_ended_needs_no_machine_for_it(tmp_path: Path) -> None:
    """What is there of its run is no more than a mark of its end, which the table and the page cannot be made of."""
    videos, out = films(tmp_path / "videos", *(f"{number}.mp4" for number in range(6))), tmp_path / "out"
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
def test_a_sweep_that_never_fits_is_refused_before_its_first_trial(
    store: Path, tmp_path: Path, resources: dict[str, float], setting: str
) -> None:
    file = sweep_file(tmp_path, resources_per_trial=resources)
    begun = time.monotonic()
    with pytest.raises(UserError, match=setting):
        run_sweep(load_sweep(file), store, tmp_path / "sweep", progress=False)
    assert time.monotonic() - begun < AT_ONCE_S


class Holder:
    """Holds what it is given."""

    def ready(self) -> None:
        """It has it."""


@contextmanager
def held(cpus: float) -> Iterator[None]:
    holder: Any = ray.remote(num_cpus=cpus)(Holder).remote()
    ray.get(holder.ready.remote())
    try:
        yield
    finally:
        ray.kill(holder)


def until(true: Any) -> None:
    end = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_training_whose_places_others_hold_says_what_it_waits_for_and_begins_when_they_are_free(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(placement_waits, "REPORT_AFTER_S", 1.0)
    restarts = RunDir(tmp_path).restarts
    with ThreadPoolExecutor(1) as pool:
        with held(2):
            run = pool.submit(pretrain, rgb_alone(1), store, tmp_path, progress=False)
            until(lambda: run.done() or (restarts.file.exists() and "waits_for" in restarts.file.read_text()))
        run.result()
    (line,) = [line["waits_for"] for line in read_lines(restarts.file) if "waits_for" in line]
    assert "CPU 1" in line and "CPU 0 of 2" in line
    assert [line in record.getMessage() for record in caplog.records].count(True) == 1, "without a display on stderr"
    assert len(losses(tmp_path)) == 4


def test_tasks_that_wait_for_others_are_told_with_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_waits, "owns_session", lambda: False)  # as in a cluster that is joined
    monkeypatch.setattr(task_waits, "REPORT_AFTER_S", 0.5)
    told: list[str] = []
    wait_for_resources({"CPU": 1.0}, told.append)
    assert not told
    with ThreadPoolExecutor(1) as pool:
        with held(2):
            room = pool.submit(wait_for_resources, {"CPU": 1.0}, told.append)
            until(lambda: room.done() or told)
            with report_stalls({"CPU": 1.0}, told.append, after_s=0.5) as stall:
                until(lambda: len(told) == 2)
                stall.restart()
                until(lambda: len(told) == 3)  # once for each wait
            assert not room.done()
        room.result()
    assert all("CPU 1" in text and "CPU 0 of 2" in text for text in told)
