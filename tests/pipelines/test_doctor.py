"""Doctor on this machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vicc_ray.cli.main import main


def lines_of(output: str) -> dict[str, str]:
    """Subject of each check -> its mark and finding."""
    checks = re.findall(r"^(ok|warn|FAIL) +(\w+) +(.*)$", output, re.MULTILINE)
    return {subject: f"{mark}: {finding}" for mark, subject, finding in checks}


def test_all_checks_pass_on_this_machine(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["doctor", "demo", "--set", "train.global_batch_size=8", "--store", str(store), "--out", str(tmp_path)])
        == 0
    )
    lines = lines_of(capsys.readouterr().out)
    assert set(lines) == {
        "machines", "versions", "token", "GPUs", "memory", "disk", "clocks", "recipe", "folder", "store",
    }  # fmt: skip
    assert lines["store"].startswith("ok") and lines["folder"].startswith("ok") and lines["token"] == "ok: on"
    assert list(tmp_path.iterdir()) == []


def test_missing_requirements_fail_the_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["doctor", "ucf101-s3d", "--store", str(tmp_path), "--set", "train.global_batch_size=4096"])
    assert end.value.code == 1
    lines = lines_of(capsys.readouterr().out)
    assert lines["recipe"].startswith("FAIL: ray.object_store_mb: too small")
    assert lines["store"].startswith("FAIL") and "folder" not in lines


def test_job_server_address_is_refused_with_the_accepted_forms(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--address", "http://127.0.0.1:8265"]) == 2
    assert "give auto, or HOST:PORT" in capsys.readouterr().err
