"""What is asked of a machine, in processes of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vicc_ray.doctor.node_info import ASK_TORCH


@pytest.mark.slow
def test_torch_is_not_imported_from_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("print('run')")
    (tmp_path / "json.py").write_text("print('run')")
    done = subprocess.run([sys.executable, "-c", ASK_TORCH], cwd=tmp_path, capture_output=True, text=True, check=True)
    count, problem = json.loads(done.stdout)
    assert count >= 0 and isinstance(problem, str)
