"""Retrieval with given networks: a published cross-stream checkpoint on a store, without a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.pipelines.prepared import CONFIG, RAY, run
from tests.videos import moving, write_video
from vicc_ray.cli.main import main
from vicc_ray.export.pretrained import find_networks
from vicc_ray.reports.run.comparison import compare

VIDEOS = 6


@pytest.mark.slow
def test_a_published_checkpoint_is_scored_with_both_streams_by_its_own_protocol(
    golden_dir: Path,
    published_checkpoint: Callable[[Path], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = ["path,label,source,split"]
    for n in range(VIDEOS):
        write_video(tmp_path / "videos" / f"{n}.mp4", moving(34, 32, 48, (1 + n % 2, 1), n))
        rows.append(f"{n}.mp4,{'ab'[n % 2]},{n},{'train' if n < 4 else 'test'}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    run(tmp_path / "videos", tmp_path / "store", CONFIG, tmp_path / "labels.csv")
    checkpoint, out = published_checkpoint(golden_dir / "official_s3d_keys.json"), tmp_path / "released"
    assert set(find_networks(checkpoint)) == {"rgb", "flow"}
    command = ["evaluate", "--model", str(checkpoint), "--store", str(tmp_path / "store"), "--out", str(out), "-q"]
    limits = [f"ray.cpus={RAY.cpus}", f"ray.object_store_mb={RAY.object_store_mb}"]
    assert main([*command, *(word for limit in limits for word in ("--set", limit))]) == 0
    result = json.loads((out / "evaluation" / "evaluation.json").read_text())
    keys = {row["key"] for row in result["rows"]}
    assert keys == {"rgb-random", "flow-random", "rgb-model", "flow-model", "rgb+flow"}
    settings = yaml.safe_load((out / "config.yaml").read_text())
    assert settings["evaluate"]["protocol"] == "published" and settings["model"]["flow_input"] == "picture"
    assert result["protocol"] in capsys.readouterr().out
    assert all(row["difference"] in (0.0, None) for row in compare(out, out)["rows"])
    with pytest.raises(SystemExit):
        main([*command[:1], *command[3:]])  # neither a run nor a network


def test_a_network_that_is_given_twice_or_without_a_folder_is_refused(
    golden_dir: Path, published_checkpoint: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", str(published_checkpoint(golden_dir / "official_s3d_keys.json"))]
    store = ["--store", str(tmp_path / "store")]
    for arguments, word in (
        ([*model, *store], "--out"),
        ([*model, *model, *store, "--out", str(tmp_path / "o")], "rgb"),
    ):
        assert main(["evaluate", *arguments]) == 2
        assert word in capsys.readouterr().err


def test_a_stream_for_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "--run", str(tmp_path / "run"), "--store", str(tmp_path / "store"), "--stream", "flow"]
    assert main(command) == 2
    assert "--stream" in capsys.readouterr().err
