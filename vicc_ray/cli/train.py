"""Commands ``pretrain`` and ``import-weights``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vicc_ray.cli.options import add_command, add_ray, add_recipe, add_run_folder, add_store, load_recipe
from vicc_ray.cli.path_types import input_path, output_path
from vicc_ray.errors import UserError
from vicc_ray.utils.standard_streams import print_line

if TYPE_CHECKING:
    from vicc_ray.config import Config, Stream


def add_pretrain(commands: Any) -> None:
    """Declare the command."""
    command = add_command(
        commands,
        "pretrain",
        _pretrain,
        "clip store -> trained networks, in RUN/checkpoints",
        "Given again, it resumes from the newest checkpoint; settings that affect the result must be the same.",
        "vicc-ray pretrain demo --store demo/store --run demo/run",
        "vicc-ray pretrain demo --store demo/store --run control --init-from "
        "demo/run/checkpoints/phase-1-flow-stage1 \\\n"
        "      --set schedule.cross_stream=false",
        "vicc-ray pretrain ucf101-s3d --store ucf101/store --run out --init-rgb rgb.pth.tar --init-flow flow.pth.tar",
    )
    add_recipe(command)
    add_store(command)
    add_run_folder(command)
    command.add_argument(
        "--init-from",
        type=input_path,
        metavar="CHECKPOINT",
        help="checkpoint of another run to start from",
    )
    for stream in ("rgb", "flow"):
        command.add_argument(
            f"--init-{stream}",
            type=input_path,
            metavar="NETWORK",
            help=f"{stream} network to start stage 2 from: a run, checkpoint, exported or published file",
        )
    add_ray(command)


def add_import_weights(commands: Any) -> None:
    """Declare the command."""
    command = add_command(
        commands,
        "import-weights",
        _import_weights,
        "published checkpoint (.pth.tar) -> safetensors",
        "For the released S3D and R(2+1)D. Reads tensors and plain values only; nothing in the file is executed.\n"
        "OUT/encoder.safetensors is the network that was optimized last; OUT/import.json maps every tensor.",
        "vicc-ray import-weights rgb-flow-s3d.pth.tar --out weights",
        "vicc-ray import-weights flow-s3d.pth.tar --stream flow --out weights",
    )
    command.add_argument("file", type=input_path, metavar="FILE.pth.tar", help="published checkpoint")
    command.add_argument("--out", type=output_path, required=True, metavar="DIR", help="folder to write to")
    command.add_argument(
        "--stream",
        choices=("rgb", "flow"),
        default="rgb",
        help="input of the network that was optimized last (default rgb)",
    )


def _pretrain(options: argparse.Namespace) -> None:
    config = load_recipe(options)
    from vicc_ray.pipelines.train.pretrain import pretrain

    start = _stage1_checkpoint(options, config) or options.init_from
    last = pretrain(config, options.store, options.run, start, progress=not options.quiet)
    print_line(f"trained: {last}")


def _stage1_checkpoint(options: argparse.Namespace, config: Config) -> Path | None:
    """Checkpoint made of the networks of ``--init-rgb`` and ``--init-flow``; None without them."""
    named: dict[Stream, Path | None] = {"rgb": options.init_rgb, "flow": options.init_flow}
    sources = {stream: path for stream, path in named.items() if path is not None}
    if not sources:
        return None
    if options.init_from:
        raise UserError("--init-from: given together with --init-rgb or --init-flow; a run has one start")
    from vicc_ray.pipelines.train.stage1_networks import stage1_checkpoint

    return stage1_checkpoint(options.run, config, sources)


def _import_weights(options: argparse.Namespace) -> None:
    from vicc_ray.models.checkpoint_import.importer import import_weights

    record = import_weights(options.file, options.out, options.stream)
    print(json.dumps({name: value for name, value in record.items() if name != "tensors"}, indent=2))
    print_line(f"tensor mapping: {options.out / 'import.json'}")
