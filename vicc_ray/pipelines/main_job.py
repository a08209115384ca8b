"""The main job: a folder of videos in, an encoder and a retrieval report out. Each step goes on where it was."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.evaluation.report import build_report
from vicc_ray.pipelines.evaluate import evaluate
from vicc_ray.pipelines.local_ray import ray_session
from vicc_ray.pipelines.prepare import prepare_inputs
from vicc_ray.pipelines.pretrain import pretrain
from vicc_ray.video.sources import list_videos
from vicc_ray.video.store import ClipStore


def main_job(
    config: Config, videos: Path | str, out: Path, labels: Path | str | None = None, progress: bool = True
) -> Path:
    """Prepare ``out/store``, pretrain and evaluate ``out/run``, build the report.

    Returns:
        the report's page.

    Raises:
        UserError: from any of the steps.
    """
    console = Console(stderr=True, quiet=not progress)
    store, run = out / "store", out / "run"
    inputs = list_videos(videos, labels, config.prepare.fold)  # what is wrong with them is told before Ray starts
    with ray_session(config.ray):
        console.print("[bold]1/4[/bold] videos -> clip store")
        console.print(str(prepare_inputs(inputs, store, config, progress)), highlight=False)
        console.print("[bold]2/4[/bold] pretraining: the two networks take turns")
        pretrain(config, store, run, progress=progress)
        console.print("[bold]3/4[/bold] features of all videos, retrieval")
        try:
            evaluate(run, store, config, progress)
        except UserError as error:
            console.print(f"no retrieval table: {error}", highlight=False)
        console.print("[bold]4/4[/bold] report")
        page = build_report(run, ClipStore(store))
    return page
