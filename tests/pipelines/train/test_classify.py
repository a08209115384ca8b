"""Action recognition on real Ray: a run with a killed worker gives the same results, and streams are fused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.pipelines.processes import kill_after_first_checkpoint
from tests.pipelines.runs import losses, settings
from vicc_ray.cli.main import main
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config, Stream
from vicc_ray.config.loader import dump_config
from vicc_ray.errors import UserError
from vicc_ray.evaluation.feature_store import FeatureTable, feature_path, save_features
from vicc_ray.evaluation.predictions_io import read_predictions
from vicc_ray.export.pretrained import find_weights
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.weights_io import EncoderWeights, write_weights
from vicc_ray.pipelines.train.classify import classify, classify_from_features
from vicc_ray.runs.checkpoint_state import read_model
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.training.tasks.classification import Classification
from vicc_ray.utils.jsonl import read_lines

EPOCHS, STEPS = 12, 48  # 16 training videos, 4 a step


def config_of(stream: str, mode: str = "finetune", epochs: int = EPOCHS, batch: int = 4, **train: Any) -> Config:
    rates = {"finetune_epochs": epochs, "finetune_learning_rate": 0.01, "backbone_lr_mult": 1.0}
    return settings(
        classify={"stream": stream, "mode": mode, "global_batch_size": batch, "dropout": 0.1, **rates},
        train={"checkpoint_every_steps": 7, **train},
    )


def fresh(stream: Stream, seed: int = 0) -> EncoderWeights:
    """Weights of an untrained network."""
    config = settings()
    torch.manual_seed(seed)
    return EncoderWeights(stream, config.model, config.clip, build_encoder(config.model).state_dict(), {})


def reference_steps(config: Config, store: Path, folder: RunDir) -> Iterator[tuple[float, dict[str, torch.Tensor]]]:
    """Losses of the task in ``folder`` and the state after each step, computed by one process without Ray."""
    torch.set_num_threads(1)
    task = Classification(config, ClipStore(store), folder)
    trainer, builder = task.trainer(torch.device("cpu")), task.builder(task.phases[0], 0, 1)
    trainer.start_phase(task.phases[0])
    for step in range(task.sampler.first_step(task.phases[0].last_epoch)):
        parts = [builder({"step": step, "microbatch": microbatch}) for microbatch in range(builder.microbatches)]
        batch = {name: torch.from_numpy(np.concatenate([part[name] for part in parts])) for name in parts[0]}
        loss = float(trainer.step(batch, task.sampler.epoch_at(step))["loss"])
        state = {prefix + k: v for prefix, module in trainer.modules().items() for k, v in module.state_dict().items()}
        yield loss, state


@pytest.fixture(scope="module")
def out(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output of `vicc-ray classify` on flow, whose worker was killed in the middle."""
    folder = tmp_path_factory.mktemp("classified")
    network, recipe, out = folder / "flow.safetensors", folder / "recipe.yaml", folder / "out"
    write_weights(network, fresh("flow"))
    recipe.write_text(dump_config(config_of("flow")))
    run = RunDir(out / "flow-finetune")
    with kill_after_first_checkpoint("ray::RayTrainWorker", run):
        command = ["classify", recipe, "--model", network, "--store", store, "--out", out, "--quiet"]
        assert main([str(word) for word in command]) == 0
    return out


def test_results_are_bit_identical_after_a_killed_worker(out: Path, store: Path) -> None:
    run = RunDir(out / "flow-finetune")
    reference = list(reference_steps(config_of("flow"), store, run))
    assert losses(run.path) == [float(f"{loss:.9g}") for loss, _ in reference]
    kept = read_model(run.path / "checkpoints" / "phase-0-flow-finetune")
    assert set(kept) == set(reference[-1][1])
    assert all(torch.equal(kept[name], value) for name, value in reference[-1][1].items())
    assert 0 < max(line["step"] for line in read_lines(run.restarts.file) if "step" in line) < STEPS


def test_fine_tuning_learns_the_motions(out: Path) -> None:
    lines = read_lines(out / "flow-finetune" / "metrics.jsonl")
    assert np.mean([line["top1"] for line in lines[-8:]]) > 0.7  # chance is 0.5; 32 draws
    table = json.loads((out / "classification.json").read_text())
    row = next(row for row in table["rows"] if row["key"] == "flow-finetune")
    assert (row["videos"], row["classes"], row["chance"]) == (4, 2, 0.5)
    assert row["top1"] > 0.5
    predictions = read_predictions(out / "flow-finetune" / "predictions.parquet")
    np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1.0, rtol=1e-5)


def test_fine_tuned_network_can_be_loaded(out: Path) -> None:
    tuned = find_weights(out / "flow-finetune" / "checkpoints" / "phase-0-flow-finetune", "flow")
    assert tuned.fingerprint != fresh("flow").fingerprint
    tuned.build()


def test_second_stream_is_fused_and_existing_predictions_are_kept(out: Path, store: Path) -> None:
    before = (out / "flow-finetune" / "predictions.parquet").stat().st_mtime_ns
    config = config_of("rgb", epochs=1, batch=5, num_workers=2)  # ranks with 3 and 2 videos
    table = classify(fresh("rgb"), config, store, out, progress=False)
    assert [row["key"] for row in table["rows"]] == ["rgb-finetune", "flow-finetune", "rgb+flow-finetune"]
    assert {line["workers"] for line in read_lines(out / "rgb-finetune" / "metrics.jsonl")} == {2}
    alone = [loss for loss, _ in reference_steps(config, store, RunDir(out / "rgb-finetune"))]
    np.testing.assert_allclose(losses(out / "rgb-finetune"), alone, rtol=2e-2)  # AdamW divides by gradients near zero
    np.testing.assert_allclose(losses(out / "rgb-finetune")[:2], alone[:2], rtol=1e-4)
    classify(fresh("flow"), config_of("flow"), store, out, progress=False)
    assert (out / "flow-finetune" / "predictions.parquet").stat().st_mtime_ns == before


def test_other_network_or_settings_are_refused(out: Path, store: Path) -> None:
    config = config_of("flow")
    with pytest.raises(UserError, match="another network"):
        classify(fresh("flow", seed=1), config, store, out, progress=False)
    changed = config.model_copy(update={"classify": config.classify.model_copy(update={"dropout": 0.4})})
    with pytest.raises(UserError, match=r"classify\.dropout: 0\.1 -> 0\.4"):
        classify(fresh("flow"), changed, store, out, progress=False)
    batch = config.model_copy(update={"classify": config.classify.model_copy(update={"global_batch_size": 17})})
    with pytest.raises(
        UserError, match=r"classify\.global_batch_size: 17 given, but there are 16 training videos with a label"
    ):
        classify(fresh("flow"), batch, store, out, progress=False)


def test_cached_probe_uses_existing_features(store: Path, tmp_path: Path) -> None:
    run, opened = tmp_path / "run", ClipStore(store)
    with pytest.raises(UserError, match="no features of a trained rgb network .* run `vicc-ray evaluate"):
        classify_from_features(run, config_of("rgb", "cached_probe"), run / "classify")
    ids, labels, sources, splits = (
        np.array(opened.entries.column(name)) for name in ("id", "label", "source", "split")
    )
    noise = np.random.default_rng(0).normal(size=(len(ids), 8))
    separable = noise + 20 * (labels == labels[0])[:, None]
    for name, features in (("rgb-random", noise), ("rgb-stage1", separable)):
        save_features(feature_path(run / "evaluation", name), FeatureTable(ids, labels, sources, splits, features))
    table = classify_from_features(run, config_of("rgb", "cached_probe"), run / "classify")
    (row,) = table["rows"]
    assert (row["key"], row["top1"], row["about"]["network"]) == ("rgb-cached_probe", 1.0, "rgb-stage1")
    assert 0 <= row["about"]["untrained_top1"] <= 1
