"""Interrupted training: its steps are kept, and no process survives.

Other commands and moments: tests/utils/test_interruption.py, and benchmarks/proofs/test_interrupts.py.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from tests.interrupts import interrupted
from tests.pipelines.runs import rgb_only
from vicc_ray.config.loader import dump_config
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.utils.jsonl import read_lines

LIMIT_S = 15.0
MARGIN = 1.5
"""Factor for other tests on the same cores."""


def pretraining(folder: Path, store: Path) -> list[str | Path]:
    """Arguments of a run that does not end and writes no checkpoint unless it is asked to."""
    (folder / "recipe.yaml").write_text(dump_config(rgb_only(5000, checkpoint_every_steps=20_000)))
    return ["-m", "vicc_ray", "pretrain", folder / "recipe.yaml", "--store", store, "--run", folder / "run"]


def test_interrupted_training_keeps_its_steps(store: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    arguments = pretraining(tmp_path, store)
    ended = interrupted(arguments, lambda _: len(read_lines(run.metrics_file)) > 2, signal.SIGINT, tmp_path)
    assert (ended.code, ended.left) == (130, [])
    assert ended.first_output_s < 1.0
    assert ended.seconds < MARGIN * LIMIT_S
    assert ended.errors.splitlines()[-1] == "stopped; the same command continues"
    assert "Traceback" not in ended.errors
    assert run.step > 2
    assert f"step {run.step} " in ended.errors
    assert [line["step"] for line in read_lines(run.restarts.file)] == [0]
    assert not run.request_file.exists()


def test_training_interrupted_while_waiting_removes_its_placement_groups(store: Path, tmp_path: Path) -> None:
    joined = {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    with _all_cpus_reserved():
        arguments = pretraining(tmp_path, store)
        ended = interrupted(arguments, lambda _: _pending(), signal.SIGTERM, tmp_path, environment=joined)
        assert (ended.code, ended.left) == (143, [])
    assert ended.seconds < MARGIN * LIMIT_S
    assert ended.errors.splitlines()[-1] == "stopped; the same command continues"
    assert "Traceback" not in ended.errors
    assert not RunDir(tmp_path / "run").restarts.file.exists()
    assert not _pending()


@contextmanager
def _all_cpus_reserved() -> Iterator[None]:
    group = ray.util.placement_group([{"CPU": ray.cluster_resources()["CPU"]}])
    try:
        ray.get(group.ready())
        yield
    finally:
        ray.util.remove_placement_group(group)


def _pending() -> list[str]:
    """Ids of placement groups that wait for resources."""
    return [id for id, group in ray.util.placement_group_table().items() if group["state"] == "PENDING"]
