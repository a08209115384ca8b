"""Commands ``make-videos`` and ``prepare``."""

from __future__ import annotations

import argparse
from typing import Any

from vicc_ray.cli.options import add_command, add_quiet, add_ray, add_recipe, add_store, add_videos, load_recipe
from vicc_ray.cli.path_types import output_path
from vicc_ray.utils.standard_streams import print_line


def add_make_videos(commands: Any) -> None:
    """Declare the command."""
    command = add_command(
        commands,
        "make-videos",
        _make_videos,
        "generate synthetic action videos whose classes differ only in motion",
        "Writes OUT/<class>/<split>_<n>.mp4 (H.264) and OUT/labels.csv. Existing videos are kept;\n"
        "a folder with another seed or with more videos is refused.",
        "vicc-ray make-videos videos",
        "vicc-ray make-videos videos --classes 8 --train 60 --test 20 --seed 1",
    )
    command.add_argument("out", type=output_path, metavar="OUT", help="folder to write to")
    command.add_argument("--classes", type=int, default=8, metavar="N", help="motion classes (default 8)")
    command.add_argument("--train", type=int, default=100, metavar="N", help="training videos per class (default 100)")
    command.add_argument("--test", type=int, default=30, metavar="N", help="test videos per class (default 30)")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all videos (default 0)")
    add_quiet(command)


def add_prepare(commands: Any) -> None:
    """Declare the command."""
    command = add_command(
        commands,
        "prepare",
        _prepare,
        "videos -> clip store: decode, scale, optical flow, compress",
        "Every video becomes a row of the store, or a line with the reason in STORE/failures.jsonl.",
        "vicc-ray prepare demo --videos videos --store demo/store",
        "vicc-ray prepare demo --videos s3://bucket/hmdb51 --labels testTrainMulti_7030_splits --store hmdb51",
    )
    add_recipe(command)
    add_videos(command)
    add_store(command, written=True)
    add_ray(command)


def _make_videos(options: argparse.Namespace) -> None:
    from vicc_ray.utils.progress_bar import ProgressBar
    from vicc_ray.video.synthetic.generate import make_videos

    total = options.classes * (options.train + options.test)
    with ProgressBar("making videos", total, show=not options.quiet) as bar:
        labels = make_videos(
            options.out,
            options.classes,
            options.train,
            options.test,
            options.seed,
            progress=lambda done, total: bar.update(done),
        )
    print_line(f"{total} videos in {options.out}, labels in {labels}")


def _prepare(options: argparse.Namespace) -> None:
    config = load_recipe(options)
    from vicc_ray.pipelines.prepare.pipeline import prepare

    print(prepare(options.videos, options.store, config, options.labels, progress=not options.quiet))
