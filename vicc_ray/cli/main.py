"""The ``vicc-ray`` command: one verb a task; each loads its settings and calls one pipeline."""

from __future__ import annotations

import argparse
import errno
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from vicc_ray import __version__
from vicc_ray.cli.classify import add_classify
from vicc_ray.cli.doctor import add_doctor
from vicc_ray.cli.options import (
    Parser,
    Verb,
    add_quiet,
    add_ray,
    add_recipe,
    add_run_folder,
    add_set,
    add_store,
    add_verb,
    add_videos,
)
from vicc_ray.cli.path_types import input_path, output_path
from vicc_ray.cli.search import add_search
from vicc_ray.cli.submit import add_submit
from vicc_ray.cli.sweep import add_sweep
from vicc_ray.config.loader import dump_config, load_config
from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster.address import join_cluster
from vicc_ray.utils.standard_streams import say
from vicc_ray.utils.visible_text import padded, visible, visible_message

if TYPE_CHECKING:
    from vicc_ray.config import Config

FULL = {errno.ENOSPC, errno.EDQUOT}
MACHINE_PROBLEMS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, *FULL}
OVERVIEW = """\
Learn a motion-aware RGB video encoder from a folder of videos, without labels.

Two networks, one for RGB and one for optical flow, take turns at predicting each other's prototypes. At the end only
RGB is needed. The whole job, on videos that it makes first, in minutes on two CPU cores:

  vicc-ray make-videos videos
  vicc-ray run demo --videos videos --out demo

With your own videos, one folder a class (or --labels, or no labels at all):

  vicc-ray run demo --videos my-videos --out my-run

Every verb that works for long goes on where it was when the same command is given again.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb. Returns 0, 2 after a wrong input (told on stderr), or 1 once nobody reads the output any more."""
    options = build_parser().parse_args(arguments)
    verb: Verb = options.verb
    try:
        if hasattr(options, "address"):
            join_cluster(options.address)
        verb(options)
        sys.stdout.flush()
    except UserError as error:
        return _fail(str(error))
    except BrokenPipeError:
        return 1
    except OSError as error:
        if error.errno not in MACHINE_PROBLEMS:
            raise
        advice = "free some space" if error.errno in FULL else "have it opened to you"
        return _fail(f"{error.filename or 'output'}: {error.strerror}; choose another folder or {advice}")
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of all verbs; the chosen one is in ``verb``."""
    parser = Parser(prog="vicc-ray", description=OVERVIEW, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"vicc-ray {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    workflow = (_add_run, _add_make_videos, _add_config, _add_prepare, _add_pretrain, _add_evaluate, _add_report)
    networks = (add_classify, _add_export, _add_import_weights)
    for add in (*workflow, *networks, add_sweep, add_search, add_submit, add_doctor):
        add(verbs)
    return parser


def _add_run(verbs: Any) -> None:
    verb = add_verb(
        verbs,
        "run",
        _run,
        "the whole job: prepare, pretrain, evaluate, report",
        "OUT/store holds the prepared clips, OUT/run the run, OUT/run/report/report.html the report.",
        "vicc-ray run demo --videos videos --out demo",
        "vicc-ray run ucf101-s3d --videos UCF-101 --labels ucfTrainTestlist --out ucf101",
    )
    add_recipe(verb)
    add_videos(verb)
    verb.add_argument(
        "--out", type=output_path, required=True, metavar="DIR", help="folder for everything that is made"
    )
    add_ray(verb)


def _add_make_videos(verbs: Any) -> None:
    verb = add_verb(
        verbs,
        "make-videos",
        _make_videos,
        "make synthetic action videos whose classes differ in motion alone",
        "Writes OUT/<class>/<split>_<n>.mp4 (H.264) and OUT/labels.csv; a video that is there is kept.\n"
        "A folder of another seed, or with more videos, is refused.",
        "vicc-ray make-videos videos",
        "vicc-ray make-videos videos --classes 8 --train 60 --test 20 --seed 1",
    )
    verb.add_argument("out", type=output_path, metavar="OUT", help="folder to write to")
    verb.add_argument("--classes", type=int, default=8, metavar="N", help="motion classes (default 8)")
    verb.add_argument("--train", type=int, default=100, metavar="N", help="training videos of each class (default 100)")
    verb.add_argument("--test", type=int, default=30, metavar="N", help="test videos of each class (default 30)")
    verb.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all videos (default 0)")
    add_quiet(verb)


def _add_config(verbs: Any) -> None:
    verb = add_verb(
        verbs,
        "config",
        _config,
        "print a recipe in full, with what every setting means and may be",
        "The output is itself a recipe: save it, change it, and give its path in the place of RECIPE.",
        "vicc-ray config demo",
        "vicc-ray config ucf101-s3d --set train.global_batch_size=64 --no-comments > mine.yaml",
    )
    add_recipe(verb)
    verb.add_argument("--no-comments", action="store_true", help="settings only, without their documentation")


def _add_prepare(verbs: Any) -> None:
    verb = add_verb(
        verbs,
        "prepare",
        _prepare,
        "videos -> clip store: decode, scale, optical flow, compress",
        "Every video ends as a row of the store or as a line, with the reason, in STORE/failures.jsonl.",
        "vicc-ray prepare demo --videos videos --store demo/store",
        "vicc-ray prepare demo --videos s3://bucket/hmdb51 --labels testTrainMulti_7030_splits --store hmdb51",
    )
    add_recipe(verb)
    add_videos(verb)
    add_store(verb, written=True)
    add_ray(verb)


def _add_pretrain(verbs: Any) -> None:
    verb = add_verb(
        verbs,
        "pretrain",
        _pretrain,
        "clip store -> trained networks, in RUN/checkpoints",
        "Given again, it goes on from the newest checkpoint; settings that change the result must be the same then.",
        "vicc-ray pretrain demo --store demo/store --run demo/run",
        "vicc-ray pretrain demo --store demo/store --run control --init-from "
        "demo/run/checkpoints/phase-1-flow-stage1 \\\n"
        "      --set schedule.cross_stream=false",
    )
    add_recipe(verb)
    add_store(verb)
    add_run_folder(verb)
    verb.add_argument(
        "--init-from",
        type=input_path,
        metavar="CHECKPOINT",
        help="checkpoint of another run to start from",
    )
    add_ray(verb)


def _add_evaluate(verbs: Any) -> None:
    verb = add_verb(
        verbs,
        "evaluate",
        _evaluate,
        "nearest-neighbour retrieval with every network of a run",
        "Prints recall at 1, 5, 10, 20 and 50; RUN/evaluation holds the numbers and the features.",
        "vicc-ray evaluate --run demo/run --store demo/store",
        "vicc-ray evaluate --run ucf101/run --store hmdb51/store --out ucf101/run/evaluation-hmdb51",
        "vicc-ray evaluate --run demo/run --store demo/store --set evaluate.exclude_same_source=true",
    )
    add_run_folder(verb)
    add_store(verb)
    verb.add_argument(
        "--out", type=output_path, metavar="DIR", help="folder for features and numbers (default RUN/evaluation)"
    )
    add_set(verb)
    add_ray(verb)


def _add_report(verbs: Any) -> None:
    verb = add_verb(
        verbs,
        "report",
        _report,
        "a run -> one HTML page, and the same figures as JSON",
        "Writes RUN/report/report.html and report.json; the store gives the gallery its pictures.",
        "vicc-ray report --run demo/run --store demo/store",
        "vicc-ray report --run demo/run --store demo/store --compare control",
    )
    add_run_folder(verb)
    add_store(verb, required=False)
    verb.add_argument("--compare", type=input_path, metavar="RUN", help="another evaluated run to compare with")


def _add_export(verbs: Any) -> None:
    verb = add_verb(
        verbs,
        "export",
        _export,
        "a trained network -> safetensors, ONNX and torch.export, each checked, with a card",
        "NETWORK is a run (after its last phase), a classification (RUN/classify/rgb-finetune), a checkpoint of one,\n"
        "or a file of import-weights. What is written needs no Ray to be used; ONNX and torch.export need no vicc-ray\n"
        "either.",
        "vicc-ray export demo/run --out encoder",
        "vicc-ray export demo/run --stream flow --format onnx --out flow-encoder",
    )
    verb.add_argument("network", type=input_path, metavar="NETWORK", help="run, checkpoint or file")
    verb.add_argument("--out", type=output_path, required=True, metavar="DIR", help="folder to write to")
    verb.add_argument(
        "--stream", choices=("rgb", "flow"), default="rgb", help="which of a run's networks (default rgb)"
    )
    verb.add_argument(
        "--format",
        dest="formats",
        action="append",
        choices=("safetensors", "onnx", "torch"),
        help="one of the formats, as often as needed (default: all)",
    )


def _add_import_weights(verbs: Any) -> None:
    verb = add_verb(
        verbs,
        "import-weights",
        _import_weights,
        "published checkpoint (.pth.tar) -> safetensors",
        "For the released S3D and R(2+1)D. Reads tensors and plain values only; nothing in the file is executed.\n"
        "OUT/encoder.safetensors is the network that was optimised last; OUT/import.json says where every tensor went.",
        "vicc-ray import-weights rgb-flow-s3d.pth.tar --out weights",
        "vicc-ray import-weights flow-s3d.pth.tar --stream flow --out weights",
    )
    verb.add_argument("file", type=input_path, metavar="FILE.pth.tar", help="published checkpoint")
    verb.add_argument("--out", type=output_path, required=True, metavar="DIR", help="folder to write to")
    verb.add_argument(
        "--stream",
        choices=("rgb", "flow"),
        default="rgb",
        help="what the network takes that was optimised last (default rgb)",
    )


def _run(options: argparse.Namespace) -> None:
    config = _load(options)
    from vicc_ray.evaluation.results_io import read_result
    from vicc_ray.pipelines.end_to_end import run_end_to_end

    page = run_end_to_end(config, options.videos, options.out, options.labels, progress=not options.quiet)
    table = read_result(options.out / "run" / "evaluation")
    if table is not None:
        _print_table(table)
    say(f"report: {page}")


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
    say(f"{total} videos in {options.out}, labels in {labels}")


def _config(options: argparse.Namespace) -> None:
    print(dump_config(_load(options), docs=not options.no_comments), end="")


def _prepare(options: argparse.Namespace) -> None:
    config = _load(options)
    from vicc_ray.pipelines.prepare.pipeline import prepare

    print(prepare(options.videos, options.store, config, options.labels, progress=not options.quiet))


def _pretrain(options: argparse.Namespace) -> None:
    config = _load(options)
    from vicc_ray.pipelines.train.pretrain import pretrain

    last = pretrain(config, options.store, options.run, options.init_from, progress=not options.quiet)
    say(f"trained: {last}")


def _evaluate(options: argparse.Namespace) -> None:
    wrong = [override for override in options.overrides if not override.startswith(("evaluate.", "ray."))]
    if wrong:
        raise UserError(f"--set {wrong[0]}: the run is trained; only settings of evaluate and ray can be changed now")
    from vicc_ray.pipelines.inference.evaluate import evaluate
    from vicc_ray.runs.run_dir import RunDir

    RunDir(options.run).config()
    config = load_config(str(options.run / "config.yaml"), options.overrides)
    _print_table(evaluate(options.run, options.store, config, progress=not options.quiet, out=options.out))


def _report(options: argparse.Namespace) -> None:
    from vicc_ray.clip_store.reader import ClipStore
    from vicc_ray.reports.run import build_report

    store = ClipStore(options.store) if options.store else None
    say(f"report: {build_report(options.run, store, options.compare)}")


def _export(options: argparse.Namespace) -> None:
    from vicc_ray.export.exporter import FORMATS, export
    from vicc_ray.export.pretrained import find_weights

    weights = find_weights(options.network, options.stream)
    for name, difference in export(weights, options.out, options.formats or FORMATS).items():
        say(f"{options.out / name}: features within {difference:.1g} of the original's (relative)")
    say(f"how to use them: {options.out / 'README.md'}")


def _import_weights(options: argparse.Namespace) -> None:
    from vicc_ray.models.checkpoint_import.importer import import_weights

    record = import_weights(options.file, options.out, options.stream)
    print(json.dumps({name: value for name, value in record.items() if name != "tensors"}, indent=2))
    say(f"where each of its tensors went: {options.out / 'import.json'}")


def _load(options: argparse.Namespace) -> Config:
    return load_config(options.recipe, options.overrides)


def _print_table(evaluation: dict[str, Any]) -> None:
    """Recall of each network in percent, that at 1 with its 95 % interval; a dash where it tells nothing."""
    rows = evaluation["rows"]
    ks = list(rows[0]["recall"]) if rows else []
    names = [visible(row["name"]) for row in rows]
    width = max(map(cell_len, names), default=0)
    say(f"{'':{width}}  {'R@1 (95 % interval)':>20}" + "".join(f"{'R@' + k:>8}" for k in ks[1:]))
    for name, row in zip(names, rows, strict=True):
        one, *rest = (_share(row["recall"][k]) for k in ks)
        first = one if row["low"] is None else f"{one} ({_share(row['low'])}-{_share(row['high'])})"
        say(f"{padded(name, width)}  {first:>20}" + "".join(f"{share:>8}" for share in rest))
    data = evaluation["dataset"]
    for key, what in (("unlabelled", "have no label"), ("without_split", "are in neither split")):
        if data[key]:
            say(f"{data[key]} of {data['videos']} videos {what}: left out")
    for warning in evaluation["warnings"]:
        say(f"warning: {warning['text']}")


def _share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _fail(message: str) -> int:
    print(f"error: {visible_message(message)}", file=sys.stderr)
    return 2
