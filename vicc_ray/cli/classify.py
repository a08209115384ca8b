"""The command ``classify``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from vicc_ray.cli.options import add_command, add_ray, add_set, add_store
from vicc_ray.cli.path_types import input_path, output_path
from vicc_ray.config.loader import config_of, load_config, recipe_names
from vicc_ray.errors import UserError
from vicc_ray.utils.standard_streams import say
from vicc_ray.utils.visible_text import padded, visible

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
        "Prints the share of test videos that are recognised. RUN/classify (or DIR) holds a folder for each stream\n"
        "and mode, and classification.json; once both streams are there, their mean probabilities are scored too.\n"
        "Given again, it goes on where it was. Settings: the section classify of the run's recipe, or of RECIPE.",
        "vicc-ray classify --run demo/run --store demo/store --mode probe",
        "vicc-ray classify --run demo/run --store demo/store --mode finetune --stream flow",
        "vicc-ray classify --run demo/run --mode cached_probe",
        "vicc-ray classify ucf101-s3d --model flow-s3d.pth.tar --stream flow --store ucf101/store --out released",
    )
    names = ", ".join(recipe_names())
    command.add_argument(
        "recipe", nargs="?", metavar="RECIPE", help=f"with --model: {names}, or the path of a YAML file"
    )
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--run", type=output_path, metavar="RUN", help="folder of a run: its newest network of the stream"
    )
    source.add_argument(
        "--model",
        type=input_path,
        metavar="FILE",
        help="another network: an exported or published file, or a checkpoint",
    )
    add_store(command, required=False)
    command.add_argument("--out", type=output_path, metavar="DIR", help="folder to write to (with --run: RUN/classify)")
    command.add_argument(
        "--mode", choices=("probe", "finetune", "cached_probe"), help="what is trained (classify.mode)"
    )
    command.add_argument("--stream", choices=("rgb", "flow"), help="which network (classify.stream)")
    add_set(command)
    add_ray(command)


def _classify(options: argparse.Namespace) -> None:
    given = [f"classify.{name}={value}" for name in ("mode", "stream") if (value := getattr(options, name))]
    overrides = [*options.overrides, *given]
    _check(options, overrides)
    out = options.out or options.run / "classify"
    config, weights = _of_run(options.run, overrides) if options.run else _of_file(options, overrides)
    from vicc_ray.pipelines.train.classify import classify, classify_from_features

    if config.classify.mode == "cached_probe":
        if not options.run:
            raise UserError("--mode cached_probe: needs --run, whose evaluation has the features that it takes")
        if options.store:
            raise UserError(
                f"--store: {options.store} given, and classify.mode cached_probe takes the features in "
                f"{options.run / 'evaluation'}, of the store that was evaluated; leave --store out, or classify the "
                "videos of this one with --mode probe or finetune"
            )
        return _show(classify_from_features(options.run, config, out))
    if not options.store:
        raise UserError("--store STORE is missing: the clip store whose videos and labels are to be learnt")
    return _show(classify(weights, config, options.store, out, progress=not options.quiet))


def _check(options: argparse.Namespace, overrides: list[str]) -> None:
    for override in overrides:
        if not override.startswith(CHANGEABLE):
            raise UserError(
                f"--set {override}: the network is trained; only settings of classify, evaluate, train, clip and ray, "
                "and seed, can be changed now"
            )
    if options.model and not options.out:
        raise UserError("--out DIR is missing: with --model there is no run's folder to write to")
    if options.run and options.recipe:
        raise UserError(f"{options.recipe}: a run has its own recipe; leave RECIPE out, and change settings with --set")


def _of_run(run: Path, overrides: list[str]) -> tuple[Config, EncoderWeights]:
    """The run's settings, and the stream's network."""
    from vicc_ray.export.pretrained import find_weights
    from vicc_ray.runs.run_dir import RunDir

    RunDir(run).config()
    config = load_config(str(run / "config.yaml"), overrides)
    return config, find_weights(run, config.classify.stream)


def _of_file(options: argparse.Namespace, overrides: list[str]) -> tuple[Config, EncoderWeights]:
    """The recipe's settings with the file's network; without a recipe the defaults with its clips."""
    from vicc_ray.export.pretrained import find_weights

    settings = load_config(options.recipe).model_dump(mode="json") if options.recipe else {}
    source = options.recipe or str(options.model)
    own = [override for override in overrides if override.startswith("classify.")]  # others must fit the file's network
    weights = find_weights(options.model, config_of(settings, source, own).classify.stream)
    settings["model"] = weights.model.model_dump(mode="json")
    settings.setdefault("clip", weights.clip.model_dump(mode="json"))
    return config_of(settings, source, overrides), weights


def _show(table: dict[str, Any]) -> None:
    """Accuracy of each classifier in percent, with 95 % intervals."""
    rows = table["rows"]
    names = [visible(row["name"]) for row in rows]
    width = max(map(cell_len, names))
    say(f"{'':{width}}  {'top-1 (95 % interval)':>22}  {'top-5 (95 % interval)':>22}  {'chance':>6}  videos")
    for name, row in zip(names, rows, strict=True):
        first, some = (_in_words(row, *keys) for keys in (("top1", "low", "high"), ("top5", "top5_low", "top5_high")))
        say(f"{padded(name, width)}  {first:>22}  {some:>22}  {100 * row['chance']:6.1f}  {row['videos']:6}")
    for row in rows:
        if "untrained_top1" in row["about"]:
            say(f"{row['name']} of an untrained network: {100 * row['about']['untrained_top1']:.1f}")
    for note in table["notes"]:
        say(note)


def _in_words(row: dict[str, Any], value: str, low: str, high: str) -> str:
    if row[value] is None:
        return "-"
    return f"{100 * row[value]:.1f} ({100 * row[low]:.1f}-{100 * row[high]:.1f})"
