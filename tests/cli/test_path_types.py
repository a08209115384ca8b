"""Path arguments: literal paths, ``~``, and addresses; nothing is written to a folder ``s3:``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from vicc_ray.cli.main import build_parser, main
from vicc_ray.config import ClipConfig, Config, ModelConfig
from vicc_ray.config.loader import load_config
from vicc_ray.datasets import Inputs
from vicc_ray.errors import UserError
from vicc_ray.export.exporter import export
from vicc_ray.export.pretrained import load_encoder
from vicc_ray.models.checkpoint_import.importer import import_weights
from vicc_ray.models.weights_io import EncoderWeights
from vicc_ray.pipelines.prepare.pipeline import prepare_inputs
from vicc_ray.pipelines.search_index import index_videos
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.sweep.sweep_dir import SweepDir
from vicc_ray.training.trackers.database import sqlite_address
from vicc_ray.utils.local_paths import is_address, local_path, without_secrets
from vicc_ray.video.synthetic.generate import make_videos

ADDRESS = "s3://key:sec/ret@bucket/run"
WRITING = [
    ("--out", "run demo --videos v --out {}"),
    ("out", "make-videos {} --classes 2 --train 1 --test 1"),
    ("--store", "prepare demo --videos v --store {}"),
    ("--run", "pretrain demo --store s --run {}"),
    ("--init-from", "pretrain demo --store s --run r --init-from {}"),
    ("--run", "evaluate --run {} --store s"),
    ("--out", "evaluate --run r --store s --out {}"),
    ("--run", "classify --run {} --mode cached_probe"),
    ("--model", "classify --model {} --store s --out o"),
    ("--out", "classify --model m --store s --out {}"),
    ("--run", "report --run {}"),
    ("--compare", "report --run r --compare {}"),
    ("NETWORK", "export {} --out o"),
    ("--out", "export n --out {}"),
    ("FILE", "import-weights {} --out o"),
    ("--out", "import-weights f --out {}"),
    ("SWEEP", "sweep {} --store s --out o"),
    ("--out", "sweep s.yaml --store s --out {}"),
    ("--index", "index v --index {}"),
    ("--model", "index v --index i --model {}"),
    ("INDEX", "search {} q.mp4"),
    ("--html", "search i q.mp4 --html {}"),
    ("--videos", "serve i --videos {}"),
    ("--out", "doctor --out {}"),
    ("--out", "submit demo --dashboard-address http://127.0.0.1:1 --store /s --out {}"),
]


@pytest.mark.parametrize("given", [ADDRESS, "s3:/bucket/run"])
@pytest.mark.parametrize(("argument", "line"), WRITING)
def test_an_address_is_refused_where_a_folder_is_needed(
    argument: str,
    line: str,
    given: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code: object
    try:
        code = main(line.format(given).split())
    except SystemExit as stopped:
        code = stopped.code
    message = capsys.readouterr().err
    assert code == 2
    assert argument.lower() in message.lower()
    assert "bucket/run" in message
    assert "sec/ret" not in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", ["s3://bucket/run", Path("s3://bucket/run")])
def test_the_library_refuses_addresses_too(given: Path | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    weights = EncoderWeights("rgb", ModelConfig(backbone="tiny", embed_dim=8), ClipConfig(), {})
    out: Any = given
    for write in (
        lambda: RunDir(out),
        lambda: SweepDir(out),
        lambda: export(weights, out),
        lambda: import_weights(tmp_path / "none.pth.tar", out),
        lambda: make_videos(out, classes=2, train=1, test=0),
        lambda: index_videos(tmp_path, out, None, Config()),
        lambda: prepare_inputs(Inputs(()), out, Config(), progress=False),
    ):
        with pytest.raises(UserError, match="s3://bucket/run"):
            write()
    assert list(tmp_path.iterdir()) == []


def test_addresses_are_accepted_for_reading() -> None:
    for line in (
        "prepare demo --videos {0} --labels {0} --store s",
        "evaluate --run r --store {0}",
        "index {0} --index i",
    ):
        options = build_parser().parse_args(line.format(ADDRESS).split())
        assert ADDRESS in (options.videos if "videos" in options else options.store)


def test_a_tilde_that_the_shell_left_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    options = build_parser().parse_args(["run", "~/mine.yaml", "--videos=~/v", "--labels=~/l.csv", "--out=~/out"])
    assert (options.videos, options.labels, options.out) == (
        str(tmp_path / "v"),
        str(tmp_path / "l.csv"),
        tmp_path / "out",
    )
    (tmp_path / "mine.yaml").write_text("seed: 7\n")
    assert load_config("~/mine.yaml").seed == 7
    assert load_config(f"file://{tmp_path}/mine.yaml").seed == 7
    assert local_path("~nobody of this name/x") == Path("~nobody of this name/x")
    assert local_path(local_path("./~/x")) == tmp_path / "~/x"


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%20b", "100%", "a b", "ü", "?x=1", "a:b", "a://b"])
def test_a_local_path_is_taken_literally(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_path(tmp_path / name) == tmp_path / name
    assert not is_address(str(tmp_path / name))
    if not is_address(name):
        assert Path(local_path(name)).absolute() == tmp_path / name


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("file:///a/b", "/a/b"),
        ("file:/a/b", "/a/b"),
        ("file://localhost/a", "/a"),
        ("FILE:///a%20b", "/a b"),
        ("file:///a b?c#d", "/a b?c#d"),
    ],
)
def test_a_file_address_is_a_path(address: str, path: str) -> None:
    assert local_path(address) == Path(path)
    assert not is_address(address)


def test_a_file_address_of_another_machine_is_refused() -> None:
    with pytest.raises(UserError, match="file:///data/videos"):
        local_path("file://data/videos")


@pytest.mark.parametrize("name", ["a", "a?b", "a#b", "a%20b"])
def test_a_database_is_created_at_its_literal_path(name: str, tmp_path: Path) -> None:
    file = tmp_path / name / "x.db"
    file.parent.mkdir()
    with create_engine(sqlite_address(file)).begin() as database:
        database.execute(text("create table t (x)"))
    assert [path.name for path in file.parent.iterdir()] == ["x.db"]


def test_loading_a_network_from_an_address_is_refused() -> None:
    with pytest.raises(UserError, match="s3://bucket/run is an address"):
        load_encoder("s3://bucket/run")


@pytest.mark.parametrize("secret", ["secret", "sec/ret", "s+e/c=r"])
def test_secrets_are_left_out(secret: str) -> None:
    assert without_secrets(f"s3://key:{secret}@bucket/a@b?x=1 and gs://anonymous@c/d") == (
        "s3://bucket/a@b?x=1 and gs://c/d"
    )
    assert without_secrets("hdfs://host:8020/a@b") == "hdfs://host:8020/a@b"
    assert os.fspath(local_path("/a@b")) == "/a@b"


def test_secrets_are_removed_from_long_texts_in_linear_time() -> None:
    text = 200_000 * "://a:"  # takes an hour if the work is quadratic
    assert without_secrets(text) == text
