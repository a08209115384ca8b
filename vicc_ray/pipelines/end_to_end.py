"""End-to-end run: from a folder of videos to trained encoders and a retrieval report. Each step resumes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config
from vicc_ray.datasets import Inputs, list_videos
from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster.capacity import cluster_capacity
from vicc_ray.pipelines.cluster.resource_check import training_shortage
from vicc_ray.pipelines.cluster.session import ray_session
from vicc_ray.pipelines.cluster.task_waits import log
from vicc_ray.pipelines.cluster.wait_for_nodes import reject_impossible
from vicc_ray.pipelines.inference.evaluate import evaluate
from vicc_ray.pipelines.prepare.pipeline import new_videos, prepare_inputs
from vicc_ray.pipelines.train.pretrain import pretrain
from vicc_ray.reports.run import build_report
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.runs.schedule import build_phases
from vicc_ray.runs.stage_times import stage_seconds, stage_timer
from vicc_ray.sharding.plan import PLAN_FILE, make_plan
from vicc_ray.training.workload import planned_workload
from vicc_ray.utils.console import Console
from vicc_ray.utils.progress_bar import duration


def run_end_to_end(
    config: Config, videos: Path | str, out: Path, labels: Path | str | None = None, progress: bool = True
) -> Path:
    """Prepare ``out/store``, pretrain and evaluate ``out/run``, build the report.

    Returns:
        page of the report.

    Raises:
        UserError: from any of the steps.
    """
    console = Console(progress)
    store, run = out / "store", out / "run"
    inputs = list_videos(videos, labels, config.prepare.split_fold)  # reports bad inputs before Ray starts
    trained = RunDir(run).checkpoints.newest()
    if trained is not None and (store / PLAN_FILE).exists():
        check_no_new_videos(inputs, store, config, trained)
    check_listed(inputs, store, config)
    run.mkdir(parents=True, exist_ok=True)
    with ray_session(config.ray):
        if not is_trained(run, config):
            # Before hours of preparation: can a node host a worker? The training checks the object store.
            reject_impossible(partial(training_shortage, config.train, config.ray.share, 0), cluster_capacity(), log)
        console.print_line(" videos -> clip store", "1/4", "bold")
        with stage_timer(run, "preparing"):
            summary = prepare_inputs(inputs, store, config, progress, retry=trained is None)
            for line in summary.lines():
                console.print_line(line)
        console.print_line(" pretraining of both networks, in alternation", "2/4", "bold")
        pretrain(config, store, run, progress=progress)
        console.print_line(" retrieval with features of all videos", "3/4", "bold")
        try:
            evaluate(run, store, config, progress)
        except UserError as error:
            console.print_line(f"no retrieval table: {error}")
        console.print_line(" report", "4/4", "bold")
        page = build_report(run, ClipStore(store))
    times = stage_seconds(run)
    parts = ", ".join(f"{stage} {duration(seconds)}" for stage, seconds in times.items())
    console.print_line(f"{duration(sum(times.values()))} in total: {parts}")
    return page


def is_trained(run: Path, config: Config) -> bool:
    """Whether the last phase of a run has finished, so that only evaluation and report remain."""
    last = build_phases(config.schedule)[-1]
    return RunDir(run).phase_checkpoint(last.index, last.name).exists()


def check_listed(inputs: Inputs, store: Path, config: Config) -> None:
    """Check that the listed videos suffice for training, before they are decoded.

    Raises:
        UserError: see :func:`~vicc_ray.training.workload.planned_workload`.
    """
    plan = make_plan(store, inputs.items, config.prepare, config.prepare.test_fraction)
    planned_workload(config, [(video.split, video.label, video.source) for _, video in plan.latest().values()])


def check_no_new_videos(inputs: Inputs, store: Path, config: Config, trained: Path) -> None:
    """Check that preparation adds no training video to the store of a started run, which could not resume then.

    Args:
        trained: newest checkpoint of the run.

    Raises:
        UserError: there are new training videos.
    """
    added = [video.id for video in new_videos(inputs, store, config) if video.split != "test"]
    if added:
        run = trained.parent.parent
        raise UserError(
            f"{len(added)} videos to train on, such as {added[0]}, are new since the start of the run {run}, which "
            "can resume only with its original videos; nothing was prepared. To train on all, give another --out. "
            "To resume the run, leave the new ones out of --videos or --labels. To train on all from the weights of "
            f"this run, add them to its store with `vicc-ray prepare ... --store {store}`, then run `vicc-ray "
            f"pretrain ... --store {store} --run ANOTHER --init-from CHECKPOINT` with a checkpoint of {trained.parent}"
        )
