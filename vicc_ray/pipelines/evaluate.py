"""A run's networks -> features -> the R@k table: random networks, then the network of every finished turn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.evaluation.feature_file import FeatureTable, feature_path, save_features
from vicc_ray.evaluation.table import RESULT_FILE, evaluate_features
from vicc_ray.files import atomic_write
from vicc_ray.pipelines.embed import Network, embed
from vicc_ray.pipelines.local_ray import ray_session
from vicc_ray.training.checkpoint import load_encoder_tensors
from vicc_ray.training.pretrainer import STREAMS, Pretrainer
from vicc_ray.training.run_folder import RunFolder
from vicc_ray.training.schedule import turns
from vicc_ray.video.store import ClipStore

SETTINGS_FILE = "settings.json"


def evaluate(
    run_dir: Path, store_path: Path | str, config: Config | None = None, progress: bool = True
) -> dict[str, Any]:
    """Embed all videos with every network of the run and score retrieval.

    Features that are there already, made with the same settings from the same store, are kept.

    Args:
        config: settings to evaluate with; the run's own by default.

    Returns:
        the content of ``evaluation/evaluation.json``.

    Raises:
        UserError: no run, no finished turn, or nothing to score.
    """
    folder, store = RunFolder(run_dir), ClipStore(store_path)
    config = config or folder.config()
    out = run_dir / "evaluation"
    _forget_other_settings(out, config, store)
    networks = {name: n for name, n in run_networks(folder, config).items() if not feature_path(out, name).exists()}
    if networks:
        with ray_session(config.ray):
            found = embed(networks, store, store.entries, config, progress)
        for name, features in found.items():
            save_features(feature_path(out, name), _table(store, features))
    return evaluate_features(out, config)


def run_networks(folder: RunFolder, config: Config) -> dict[str, Network]:
    """Networks by name: "rgb-random", "flow-random", then one a finished turn.

    Raises:
        UserError: no turn has finished yet.
    """
    fresh = Pretrainer(config, torch.device("cpu"))
    networks = {f"{s}-random": Network(s, fresh.encoders[s].state_dict()) for s in STREAMS}
    for turn in turns(config.schedule):
        path = folder.turn_checkpoint(turn.index, turn.name)
        if path.exists():
            networks[turn.name] = Network(turn.stream, load_encoder_tensors(path, turn.stream))
    if len(networks) == len(STREAMS):
        raise UserError(f"{folder.path}: no finished turn to evaluate yet; go on with `vicc-ray pretrain`")
    return networks


def _table(store: ClipStore, features: np.ndarray) -> FeatureTable:
    ids, labels, sources, splits = (np.array(store.entries.column(name)) for name in ("id", "label", "source", "split"))
    return FeatureTable(ids, labels, sources, splits, features)


def _forget_other_settings(out: Path, config: Config, store: ClipStore) -> None:
    """Remove features, and their table, that were made with other settings or from another store."""
    settings = {
        "store": str(store),
        "clip": config.clip.model_dump(mode="json"),
        "evaluate": config.evaluate.model_dump(mode="json", exclude={"ignore_same_source", "batch"}),
    }
    file = out / SETTINGS_FILE
    if file.exists() and json.loads(file.read_text()) == settings:
        return
    for old in (*out.glob("features-*.npz"), out / RESULT_FILE):
        old.unlink(missing_ok=True)
    atomic_write(file, json.dumps(settings, indent=1))
