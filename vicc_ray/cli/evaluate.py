"""Commands ``evaluate``, ``report`` and ``export``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vicc_ray.cli.options import add_command, add_ray, add_run_folder, add_set, add_store
from vicc_ray.cli.path_types import input_path, output_path
from vicc_ray.config.loader import load_config
from vicc_ray.errors import UserError
from vicc_ray.utils.standard_streams import print_line

if TYPE_CHECKING:
    from vicc_ray.config import Config, Stream
    from vicc_ray.models.weights_io import EncoderWeights


def add_evaluate(commands: Any) -> None:
    """Declare the command."""
    command = add_command(
        commands,
        "evaluate",
        _evaluate,
        "nearest-neighbor retrieval with every network of a run, or with given networks",
        "Prints recall at 1, 5, 10, 20 and 50. RUN/evaluation (DIR/evaluation with --model) holds the results and the\n"
        "features. NETWORK is a run, a checkpoint, an exported or a published file; a published one is tested by its\n"
        "own protocol.",
        "vicc-ray evaluate --run demo/run --store demo/store",
        "vicc-ray evaluate --run ucf101/run --store hmdb51/store --out ucf101/run/evaluation-hmdb51",
        "vicc-ray evaluate --run demo/run --store demo/store --set evaluate.exclude_same_source=true",
        "vicc-ray evaluate --model released.pth.tar --store ucf101/store --out released",
    )
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=output_path, metavar="RUN", help="run directory")
    source.add_argument(
        "--model",
        dest="models",
        action="append",
        type=input_path,
        metavar="NETWORK",
        help="run, checkpoint, exported or published file; repeatable, for a file of each stream",
    )
    command.add_argument(
        "--stream",
        choices=("rgb", "flow"),
        help="with --model: stream of the network that a published file optimized last (default rgb)",
    )
    add_store(command)
    command.add_argument(
        "--out", type=output_path, metavar="DIR", help="output folder (with --run, default RUN/evaluation)"
    )
    add_set(command)
    add_ray(command)


def add_report(commands: Any) -> None:
    """Declare the command."""
    command = add_command(
        commands,
        "report",
        _report,
        "a run -> one HTML page, and its figures as JSON",
        "Writes RUN/report/report.html and report.json; the gallery takes its pictures from the store.",
        "vicc-ray report --run demo/run --store demo/store",
        "vicc-ray report --run demo/run --store demo/store --compare control",
    )
    add_run_folder(command)
    add_store(command, required=False)
    command.add_argument("--compare", type=input_path, metavar="RUN", help="evaluated run to compare with")


def add_export(commands: Any) -> None:
    """Declare the command."""
    command = add_command(
        commands,
        "export",
        _export,
        "a trained network -> safetensors, ONNX and torch.export, each checked, with a card",
        "NETWORK is a run (its last phase), a classification (RUN/classify/rgb-finetune), a checkpoint, or a file of\n"
        "import-weights. Exported files need no Ray; ONNX and torch.export files need no vicc-ray either.",
        "vicc-ray export demo/run --out encoder",
        "vicc-ray export demo/run --stream flow --format onnx --out flow-encoder",
    )
    command.add_argument("network", type=input_path, metavar="NETWORK", help="run, checkpoint or file")
    command.add_argument("--out", type=output_path, required=True, metavar="DIR", help="folder to write to")
    command.add_argument(
        "--stream", choices=("rgb", "flow"), default="rgb", help="which of a run's networks (default rgb)"
    )
    command.add_argument(
        "--format",
        dest="formats",
        action="append",
        choices=("safetensors", "onnx", "torch"),
        help="format; repeatable (default: all)",
    )


def _evaluate(options: argparse.Namespace) -> None:
    wrong = [override for override in options.overrides if not override.startswith(("evaluate.", "ray."))]
    if wrong:
        raise UserError(
            f"--set {wrong[0]}: the network is already trained; only settings of evaluate and ray can be overridden"
        )
    if options.models:
        _evaluate_models(options)
        return
    if options.stream:
        raise UserError(f"--stream {options.stream}: only for --model; a run is evaluated with both streams")
    from vicc_ray.pipelines.inference.evaluate import evaluate
    from vicc_ray.runs.run_dir import RunDir

    RunDir(options.run).config()
    config = load_config(str(options.run / "config.yaml"), options.overrides)
    print_retrieval(evaluate(options.run, options.store, config, progress=not options.quiet, out=options.out))


def _evaluate_models(options: argparse.Namespace) -> None:
    """Evaluate the networks of ``--model``."""
    if not options.out:
        raise UserError("--out DIR is missing: --model has no run directory to write to")
    from vicc_ray.export.pretrained import find_networks
    from vicc_ray.pipelines.inference.evaluate import evaluate_networks

    networks: dict[Stream, EncoderWeights] = {}
    for path in options.models:
        for stream, weights in find_networks(path, options.stream or "rgb").items():
            if stream in networks:
                raise UserError(f"--model {path}: a second {stream} network; give one network of each stream")
            networks[stream] = weights
    config = _config_of_networks(networks, options.overrides)
    print_retrieval(evaluate_networks(networks, options.store, config, options.out, progress=not options.quiet))


def _config_of_networks(networks: dict[Stream, EncoderWeights], overrides: list[str]) -> Config:
    """Settings to evaluate given networks with: their model, clips and protocol."""
    from vicc_ray.config.loader import config_of
    from vicc_ray.evaluation.protocol import protocol_of

    first = next(iter(networks.values()))
    for weights in networks.values():
        if (weights.model, weights.clip, weights.crop_share) != (first.model, first.clip, first.crop_share):
            raise UserError("--model: the two networks differ in backbone or clips; evaluate them one after the other")
    settings = {
        "name": "given networks",
        "model": first.model.model_dump(mode="json"),
        "clip": first.clip.model_dump(mode="json"),
        "evaluate": {"protocol": protocol_of(first.crop_share)},
    }
    return config_of(settings, "--model", overrides)


def _report(options: argparse.Namespace) -> None:
    from vicc_ray.clip_store.reader import ClipStore
    from vicc_ray.reports.run import build_report

    store = ClipStore(options.store) if options.store else None
    print_line(f"report: {build_report(options.run, store, options.compare)}")


def _export(options: argparse.Namespace) -> None:
    from vicc_ray.export.exporter import FORMATS, export
    from vicc_ray.export.pretrained import find_weights

    weights = find_weights(options.network, options.stream)
    for name, difference in export(weights, options.out, options.formats or FORMATS).items():
        print_line(f"{options.out / name}: relative feature error {difference:.1g}")
    print_line(f"usage: {options.out / 'README.md'}")


def print_retrieval(evaluation: dict[str, Any]) -> None:
    """Print the recall of each network in percent, R@1 with its 95 % interval; a dash where it is undefined."""
    from vicc_ray.cli.tables import Column, print_table

    rows = evaluation["rows"]
    ks = list(rows[0]["recall"]) if rows else []
    columns = [Column("network", "left"), Column("R@1 (95 % interval)"), *(Column(f"R@{k}") for k in ks[1:])]
    print_table(columns, [_recall_cells(row, ks) for row in rows])
    print_line(evaluation["protocol"])
    data = evaluation["dataset"]
    for key, what in (("unlabeled", "have no label"), ("without_split", "are in neither split")):
        if data[key]:
            print_line(f"{data[key]} of {data['videos']} videos {what}: left out")
    for warning in evaluation["warnings"]:
        print_line(f"warning: {warning['text']}")


def _recall_cells(row: dict[str, Any], ks: Sequence[str]) -> list[str]:
    first, *others = (_percent(row["recall"][k]) for k in ks)
    if row["low"] is not None:
        first = f"{first} ({_percent(row['low'])}-{_percent(row['high'])})"
    return [row["name"], first, *others]


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.1f}"
