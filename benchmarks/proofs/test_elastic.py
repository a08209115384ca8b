"""Elastic training: a run grows and shrinks with the nodes of a cluster."""

from __future__ import annotations

from itertools import groupby, islice
from pathlib import Path

import numpy as np

from tests.fake_cluster import fake_cluster
from tests.pipelines.processes import pretrain_process, wait_until
from tests.pipelines.runs import reference_losses, rgb_only
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.utils.jsonl import read_lines


def test_elastic_run_follows_its_nodes_and_samples_every_video_once_per_epoch(store: Path, tmp_path: Path) -> None:
    workers = {"min": 1, "max": 2}
    config = rgb_only(
        5000, num_workers=workers, elastic_resize_interval_s=2.0, checkpoint_every_steps=10, log_sample_ids=True
    )
    folder = RunDir(tmp_path / "run")

    def trains_with(count: int) -> bool:
        lines = read_lines(folder.metrics_file)
        return bool(lines) and lines[-1]["workers"] == count

    def warned() -> bool:
        return any(line["why"] == "preemption notice" for line in read_lines(folder.checkpoints_file))

    with fake_cluster() as cluster:
        cluster.add("stays", 2)
        # Shortens a start that waits for the lost node. A start that times out is retried.
        environment = {**cluster.environment, "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "10"}
        with pretrain_process(config, store, folder.path, environment) as process:
            wait_until(lambda: folder.step > 0, process)  # resizing resumes from the newest checkpoint
            cluster.add("comes and goes", 2)
            wait_until(lambda: trains_with(2), process)
            cluster.drain("comes and goes", 20)
            wait_until(warned, process)
            cluster.kill("comes and goes")
            wait_until(lambda: trains_with(1), process)
    lines = read_lines(folder.metrics_file)
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    assert [count for count, _ in groupby(line["workers"] for line in lines)] == [1, 2, 1]
    reference = list(islice(reference_losses(config, store), len(lines)))
    np.testing.assert_allclose([line["loss"] for line in lines], reference, rtol=1e-4)
    taken = [video for line in read_lines(folder.samples_file) for video in line["videos"]]
    for epoch in range(len(taken) // 16):
        assert sorted(taken[16 * epoch : 16 * (epoch + 1)]) == list(range(16))
