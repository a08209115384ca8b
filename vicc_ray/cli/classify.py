"""Command ``classify``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vicc_ray.cli.options import add_command, add_ray, add_set, add_store
from vicc_ray.cli.path_types import input_path, output_path
from vicc_ray.config.loader import config_of, load_config, recipe_names
from vicc_ray.errors import UserError
from vicc_ray.utils.standard_streams import print_line

if TYPE_CHECKING:
    from vicc_ray.config import Config
    from vicc_ray.models.weights_io import EncoderWeights

CHANGEABLE = ("classify.", "evaluate.", "train.", "clip.", "ray.", "seed=", "name=")


def add_classify(commands: Any) -> None:
    """Declare the command."""
    command = add_command(
        commands,
        "classify",
        _classify,
        "a trained network and labels -> action recognition: linear probe or fine-tuning",
        "Prints top-1 and top-5 accuracy on the test videos. RUN/classify (or DIR) has a folder for each stream and\n"
        "mode, and classification.json. With both streams trained, their averaged probabilities are scored too.\n"
        "The same command resumes. Settings: section classify of the run's recipe, or of RECIPE.",
        "vicc-ray classify --run demo/run --store demo/store --mode probe",
        "vicc-ray classify --run demo/run --store demo/store --mode finetune --stream flow",
        "vicc-ray classify --run demo/run --mode cached_probe",
        "vicc-ray classify ucf101-s3d --model flow-s3d.pth.tar --stream flow --store ucf101/store --out released",
    )
    names = ", ".join(recipe_names())
    command.add_argument("recipe", nargs="?", metavar="RECIPE", help=f"with --model: {names}, or a YAML file")
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--run", type=output_path, metavar="RUN", help="run directory; its newest network of the stream is used"
    )
    source.add_argument(
        "--model",
        type=input_path,
        metavar="FILE",
        help="network: an exported or published file, or a checkpoint",
    )
    add_store(command, required=False)
    command.add_argument(
        "--out", type=output_path, metavar="DIR", help="output folder (with --run, default RUN/classify)"
    )
    command.add_argument(
        "--mode", choices=("probe", "finetune", "cached_probe"), help="what is trained (classify.mode)"
    )
    command.add_argument("--stream", choices=("rgb", "flow"), help="which network (classify.stream)")
    add_set(command)
    add_ray(command)


def _classify(options: argparse.Namespace) -> None:
    flags = [f"classify.{name}={value}" for name in ("mode", "stream") if (value := getattr(options, name))]
    overrides = [*options.overrides, *flags]
    _check_options(options, overrides)
    out = options.out or options.run / "classify"
    config, weights = _load_run(options.run, overrides) if options.run else _load_file(options, overrides)
    from vicc_ray.pipelines.train.classify import classify, classify_from_features

    if config.classify.mode == "cached_probe":
        if not options.run:
            raise UserError(
                "--mode cached_probe: needs --run, because it trains on the features of the run's evaluation"
            )
        if options.store:
            raise UserError(
                f"--store: {options.store} given, but classify.mode cached_probe uses the features in "
                f"{options.run / 'evaluation'}, computed from the evaluated store; omit --store, or classify the "
                "videos of this store with --mode probe or finetune"
            )
        return print_classification(classify_from_features(options.run, config, out))
    if not options.store:
        raise UserError("--store STORE is missing: the clip store to train and test on")
    return print_classification(classify(weights, config, options.store, out, progress=not options.quiet))


def _check_options(options: argparse.Namespace, overrides: list[str]) -> None:
    for override in overrides:
        if not override.startswith(CHANGEABLE):
            raise UserError(
                f"--set {override}: the network is already trained; only settings of classify, evaluate, train, clip "
                "and ray, and seed and name, can be overridden"
            )
    if options.model and not options.out:
        raise UserError("--out DIR is missing: --model has no run directory to write to")
    if options.run and options.recipe:
        raise UserError(f"{options.recipe}: a run has its own recipe; omit RECIPE, and override settings with --set")


def _load_run(run: Path, overrides: list[str]) -> tuple[Config, EncoderWeights]:
    """Settings of the run, and its network for the stream."""
    from vicc_ray.export.pretrained import find_weights
    from vicc_ray.runs.run_dir import RunDir

    RunDir(run).config()
    config = load_config(str(run / "config.yaml"), overrides)
    return config, find_weights(run, config.classify.stream)


def _load_file(options: argparse.Namespace, overrides: list[str]) -> tuple[Config, EncoderWeights]:
    """Settings of the recipe with the model of the file; without a recipe, the defaults with the file's clips."""
    from vicc_ray.export.pretrained import find_weights

    settings = load_config(options.recipe).model_dump(mode="json") if options.recipe else {}
    source = options.recipe or str(options.model)
    # Validate the others later: they must fit the model of the file.
    classify = [override for override in overrides if override.startswith("classify.")]
    weights = find_weights(options.model, config_of(settings, source, classify).classify.stream)
    settings["model"] = weights.model.model_dump(mode="json")
    settings.setdefault("clip", weights.clip.model_dump(mode="json"))
    return config_of(settings, source, overrides), weights


def print_classification(table: dict[str, Any]) -> None:
    """Print the accuracy of each classifier in percent, with 95 % intervals; a dash where it is undefined."""
    from vicc_ray.cli.tables import Column, print_table

    headers = ("top-1 (95 % interval)", "top-5 (95 % interval)", "chance", "videos")
    columns = [Column("classifier", "left"), *map(Column, headers)]
    rows = table["rows"]
    print_table(columns, [_accuracy_cells(row) for row in rows])
    for row in rows:
        if "untrained_top1" in row["about"]:
            print_line(f"{row['name']} of an untrained network: {100 * row['about']['untrained_top1']:.1f}")
    for note in table["notes"]:
        print_line(note)


def _accuracy_cells(row: dict[str, Any]) -> list[str]:
    top1, top5 = _interval(row, "top1", "low", "high"), _interval(row, "top5", "top5_low", "top5_high")
    return [row["name"], top1, top5, f"{100 * row['chance']:.1f}", str(row["videos"])]


def _interval(row: dict[str, Any], value: str, low: str, high: str) -> str:
    if row[value] is None:
        return "-"
    return f"{100 * row[value]:.1f} ({100 * row[low]:.1f}-{100 * row[high]:.1f})"
