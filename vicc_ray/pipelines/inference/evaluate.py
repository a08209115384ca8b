"""Retrieval evaluation of a run: features and R@k of random networks and of the network of every finished phase."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.clip_store.training_clips import check_flow_unit
from vicc_ray.config import Config, Stream
from vicc_ray.config.loader import dump_config
from vicc_ray.errors import UserError
from vicc_ray.evaluation.feature_settings import remove_stale_features
from vicc_ray.evaluation.retrieval_results import evaluate_features
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.weights_io import EncoderWeights
from vicc_ray.pipelines.inference.embed import StreamWeights
from vicc_ray.pipelines.inference.feature_writer import make_features
from vicc_ray.runs.checkpoint_state import load_encoder_tensors
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.runs.schedule import STREAMS, build_phases
from vicc_ray.runs.stage_times import stage_timer
from vicc_ray.utils.fs import atomic_write


def evaluate(
    run_dir: Path,
    store_path: Path | str,
    config: Config | None = None,
    progress: bool = True,
    out: Path | None = None,
) -> dict[str, Any]:
    """Embed all videos with every network of the run and score retrieval.

    Existing features of the same settings and video contents are reused, also after the videos have moved.

    Args:
        config: settings of the evaluation; by default those of the run.
        out: folder of features and results; ``run_dir/evaluation`` by default. Give another one for another store, to
            keep the results of both.

    Returns:
        content of ``out/evaluation.json``.

    Raises:
        UserError: no run, no finished phase, or no test videos to score.
    """
    folder, store = RunDir(run_dir), ClipStore(store_path)
    config = config or folder.config()
    check_flow_unit(store.settings, config.clip)
    out = out or run_dir / "evaluation"
    networks = run_networks(folder, config)
    remove_stale_features(out, config, store, networks)
    with stage_timer(run_dir, "evaluation"):
        make_features(networks, store, config, out, progress)
        return evaluate_features(out, config)


def evaluate_networks(
    networks: Mapping[Stream, EncoderWeights], store_path: Path | str, config: Config, out: Path, progress: bool = True
) -> dict[str, Any]:
    """Score retrieval with given networks, one for each stream at most, beside random ones; see :func:`evaluate`.

    Args:
        config: settings of the evaluation, with the network's ``model`` and ``clip``.
        out: folder that gets ``config.yaml`` and ``evaluation``, so that a report can compare a run with it.

    Raises:
        UserError: no test videos to score, or ``out`` is the folder of a run.
    """
    folder, store = RunDir(out), ClipStore(store_path)
    if folder.checkpoints.newest() is not None:
        raise UserError(f"{out}: this is the folder of a run; give another one with --out")
    check_flow_unit(store.settings, config.clip)
    named = {f"{stream}-model": StreamWeights(stream, weights.tensors) for stream, weights in networks.items()}
    fresh = random_networks(config, list(networks))
    results = out / "evaluation"
    results.mkdir(parents=True, exist_ok=True)
    atomic_write(folder.config_file, dump_config(config))
    remove_stale_features(results, config, store, [*fresh, *named])
    make_features({**fresh, **named}, store, config, results, progress)
    return evaluate_features(results, config)


def random_networks(config: Config, streams: Collection[Stream] = STREAMS) -> dict[str, StreamWeights]:
    """Untrained networks by name, "rgb-random" and "flow-random": the control of every evaluation.

    They are a run's networks before training, but with the default ``model.init``: one whose convolutions start normal
    scales its features down to nothing while its batch norms have seen no samples.
    """
    model = config.model.model_copy(update={"init": "default"})
    torch.manual_seed(config.seed)
    encoders = {stream: build_encoder(model) for stream in STREAMS}
    return {f"{s}-random": StreamWeights(s, encoders[s].state_dict()) for s in STREAMS if s in streams}


def run_networks(folder: RunDir, config: Config) -> dict[str, StreamWeights]:
    """Networks by name: "rgb-random", "flow-random", then one per finished phase.

    Raises:
        UserError: no phase has finished yet.
    """
    networks = random_networks(config)
    for phase in build_phases(config.schedule):
        path = folder.phase_checkpoint(phase.index, phase.name)
        if path.exists():
            networks[phase.name] = StreamWeights(phase.stream, load_encoder_tensors(path, phase.stream))
    if len(networks) == len(STREAMS):
        raise UserError(f"{folder.path}: no finished phase to evaluate yet; resume the run with `vicc-ray pretrain`")
    return networks
