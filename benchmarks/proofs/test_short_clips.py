"""Numerical check of our convolutions on this CPU: correct results and no stray writes for the shortest clips."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCAN = Path(__file__).parents[1] / "short_clips.py"
SECONDS = 100


def test_our_layers_are_correct_and_torch_failures_are_reported() -> None:
    command = [sys.executable, str(SCAN), "--seconds", str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3 * SECONDS)
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    print(json.dumps(report["torch"]))
    assert report["looked_at"] > 0
    assert report["built"] == report["trained"] == []
    assert done.returncode == 0
