"""Action recognition with a pretrained network: train on Ray Train, predict test videos on Ray Data, score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vicc_ray.clip_store.fingerprint import CLIP_COLUMNS, videos_fingerprint
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.evaluation.classification_results import PREDICTIONS_FILE, score_predictions
from vicc_ray.evaluation.feature_store import feature_names, feature_path, load_features
from vicc_ray.evaluation.linear_probe import fit_quick_probe
from vicc_ray.evaluation.predictions_io import Predictions, read_predictions, write_predictions
from vicc_ray.evaluation.protocol import protocol_text
from vicc_ray.evaluation.retrieval_results import latest_network
from vicc_ray.models.weights_io import EncoderWeights
from vicc_ray.pipelines.cluster.session import ray_session
from vicc_ray.pipelines.inference.predict import predict
from vicc_ray.pipelines.train.launcher import launch_training
from vicc_ray.runs.checkpoint_state import read_model
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.training.distributed.local_batch_norm import local_batch_norm_note
from vicc_ray.training.tasks.class_labels import ClassLabels
from vicc_ray.training.tasks.classification import Classification, free_settings
from vicc_ray.training.trackers import check_trackers


def classify(
    weights: EncoderWeights, config: Config, store_path: Path | str, out: Path, progress: bool = True
) -> dict[str, Any]:
    """Linear probe or fine-tuning (``config.classify``) in ``out/<stream>-<mode>``, then scores of all runs.

    The same call resumes; finished parts are kept.

    Args:
        weights: pretrained network of the stream.
        config: settings; model and clip must match the network.

    Returns:
        content of ``out/classification.json``, see :mod:`vicc_ray.evaluation.classification_results`.

    Raises:
        UserError: invalid labels or settings, unusable store or folder, or failed training.
    """
    check_trackers(config.train.trackers)
    store, folder = ClipStore(store_path), RunDir(out / f"{config.classify.stream}-{config.classify.mode}")
    task = Classification(config, store, folder)
    folder.open(config, free_settings(config.classify.mode), task.inputs)
    task.record_start(weights)
    about = _provenance(task, weights)
    file, phase = folder.path / PREDICTIONS_FILE, task.phases[-1]
    trained = folder.step >= task.sampler.first_step(phase.last_epoch)
    if not (trained and _has_provenance(file, about)):
        with ray_session(config.ray):  # one session for both, since its start is slow
            last = launch_training(task, folder, progress=progress)
            _predict(task, last, file, about, progress)
    return score_predictions(out, config.seed)


def classify_from_features(run: Path, config: Config, out: Path) -> dict[str, Any]:
    """Linear probe on the features that the run's evaluation has cached for the stream's newest network.

    Returns:
        as :func:`classify`.

    Raises:
        UserError: missing features, or unusable labels.
    """
    stream, folder = config.classify.stream, run / "evaluation"
    names = feature_names(folder)
    name = latest_network(names, stream)
    if name is None:
        raise UserError(
            f"no features of a trained {stream} network in {folder}, which classify.mode cached_probe needs: run "
            f"`vicc-ray evaluate --run {run} --store STORE` first"
        )
    predictions = _fit_cached_probe(folder, name, config.seed)
    control = f"{stream}-random"
    if control in names:
        random = _fit_cached_probe(folder, control, config.seed)
        top1 = np.array(random.classes)[random.probabilities.argmax(axis=1)]
        predictions.about["untrained_top1"] = float((top1 == random.labels).mean())
    write_predictions(out / f"{stream}-cached_probe" / PREDICTIONS_FILE, predictions)
    return score_predictions(out, config.seed)


def _fit_cached_probe(folder: Path, name: str, seed: int) -> Predictions:
    table = load_features(feature_path(folder, name)).sorted()
    class_labels = ClassLabels.of(table.labels, table.splits)
    train, test = class_labels.train, class_labels.test
    probe = fit_quick_probe(
        table.features[train],
        class_labels.numbers(table.labels[train]),
        table.sources[train],
        len(class_labels.classes),
        seed,
    )
    about = {
        **{"network": name, "penalty": probe.penalty, "notes": class_labels.notes()},
        "held_out_top1": {f"{penalty:g}": accuracy for penalty, accuracy in probe.held_out_accuracy.items()},
    }
    probabilities = probe.probabilities(table.features[test])
    return Predictions(table.ids[test], table.labels[test], probabilities, class_labels.classes, about)


def _predict(task: Classification, checkpoint: Path, file: Path, about: dict[str, Any], progress: bool) -> None:
    entries = task.store.entries.where(task.labelling.test)
    probabilities = predict(read_model(checkpoint), task.store, entries, task.config, progress)
    ids, labels = (np.array(entries.column(name), dtype=str) for name in ("id", "label"))
    order = np.argsort(ids, kind="stable")
    write_predictions(file, Predictions(ids[order], labels[order], probabilities[order], task.labelling.classes, about))


def _provenance(task: Classification, weights: EncoderWeights) -> dict[str, Any]:
    """What predictions depend on besides the training, whose inputs the run folder fixes, and notes for the report."""
    config, videos = task.config, task.store.entries.where(task.labelling.test)
    note = local_batch_norm_note(config.train)
    return {
        **{"network": weights.fingerprint, "test_videos": len(videos)},
        "videos": videos_fingerprint(videos, task.store.settings, (*CLIP_COLUMNS, "label")),
        "clip": config.clip.model_dump(mode="json"),
        "evaluate": config.evaluate.model_dump(
            mode="json", include={"protocol", "window_overlap", "max_windows_per_video", "crops"}
        ),
        "notes": [
            *task.labelling.notes(),
            protocol_text(config.evaluate, "classification"),
            *([note] if note else []),
        ],
    }


def _has_provenance(file: Path, about: dict[str, Any]) -> bool:
    return file.exists() and read_predictions(file).about == about
