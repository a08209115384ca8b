"""Stores, features and predictions with bytes that are otherwise: read or told, and never the end of the process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_damaged_files_are_read_or_reported(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.damaged_files", str(tmp_path), "0", "60"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "without a file" not in ended.stdout
    told, read = (int(re.findall(rf"'{word}': (\d+)", ended.stdout)[0]) for word in ("told", "read"))
    assert told > read > 0
