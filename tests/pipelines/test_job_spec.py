"""Packaged jobs carry the local settings and a command that reads them on the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from vicc_ray.cli.main import build_parser
from vicc_ray.config.loader import dump_config, load_config
from vicc_ray.errors import UserError
from vicc_ray.pipelines.job_spec import PackagedJob, package
from vicc_ray.sweep.config import load_sweep


def unpack(job: PackagedJob, folder: Path) -> None:
    for name, content in job.files.items():
        (folder / name).write_text(content)


@pytest.mark.parametrize(
    ("inputs", "command"),
    [
        ({"store": "/shared/store"}, "pretrain"),
        ({"videos": "s3://bucket/videos", "labels": "/shared/lists"}, "run"),
        ({"videos": "/v", "labels": "none"}, "run"),
    ],
)
def test_packaged_recipe_equals_the_local_one(inputs: dict[str, str], command: str, tmp_path: Path) -> None:
    job = package("demo", "/shared/out", **inputs, overrides=["train.global_batch_size=16"])
    unpack(job, tmp_path)
    options = build_parser().parse_args(job.arguments)
    assert job.arguments[0] == command
    assert load_config(str(tmp_path / options.recipe)) == load_config("demo", ["train.global_batch_size=16"])
    assert {"/shared/out", *inputs.values()} <= set(job.arguments)


def test_packaged_sweep_includes_its_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(dump_config(load_config("demo", ["seed=7"])))
    sweep: dict[str, Any] = {
        "name": "s",
        "recipe": str(recipe),
        "search_space": {"stage2.sinkhorn_epsilon": {"low": 0.02, "high": 0.2}},
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(sweep))
    remote = tmp_path / "remote"
    remote.mkdir()
    job = package(str(tmp_path / "s.yaml"), "/shared/out", store="/shared/store")
    unpack(job, remote)
    recipe.unlink()
    monkeypatch.chdir(remote)
    options = build_parser().parse_args(job.arguments)
    loaded = load_sweep(options.sweep)
    assert loaded.search_space.keys() == sweep["search_space"].keys()
    assert load_config(loaded.recipe).seed == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"out": "run", "store": "/s"}, r"--out: 'run' given, a relative path"),
        ({"out": "/out", "store": "s"}, r"--store: 's' given, a relative path"),
        ({"out": "/out", "videos": "/v", "labels": "lists"}, r"--labels: 'lists' given, a relative path"),
        ({"out": "/out", "store": "~/s"}, r"--store: '~/s' given"),
        ({"out": "s3://bucket/run", "store": "/s"}, r"--out: s3://bucket/run is an address"),
        ({"out": "/out"}, r"--store and --videos: neither given; .*--store .* --videos"),
        ({"out": "/out", "store": "/s", "videos": "/v"}, r"--store and --videos: both given"),
        ({"out": "/out", "store": "/s", "labels": "/lists"}, r"--labels: /lists given .* --store"),
        ({"out": "/out", "store": "/s", "labels": "none"}, r"--labels: none given .* --store"),
        ({"out": "/out", "store": "/s", "overrides": ["train.batchh=1"]}, r"train\.batchh"),
    ],
)
def test_arguments_unusable_on_a_cluster_are_refused_locally(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        package("demo", **arguments)


@pytest.mark.parametrize("wrong", ["budget: {trial: 3}", "overrides: {train.batchh: 3}", "sampler: TPE"])
def test_invalid_sweep_is_refused_locally(wrong: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(f"search_space: {{stage2.sinkhorn_epsilon: {{low: 0.02, high: 0.2}}}}\n{wrong}\n")
    with pytest.raises(UserError, match=wrong.partition(":")[0]):
        package(str(tmp_path / "s.yaml"), "/out", store="/s")


def test_sweep_takes_no_overrides(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("search_space: {stage2.sinkhorn_epsilon: {low: 0.02, high: 0.2}}")
    with pytest.raises(UserError, match=r"is a sweep: give it --store"):
        package(str(tmp_path / "s.yaml"), "/out", store="/s", overrides=["seed=1"])
