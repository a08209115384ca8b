"""The published network in every format, see ``tests/evaluation/test_export.py``."""

from __future__ import annotations

from pathlib import Path

from tests.evaluation.test_export import weights
from vicc_ray.evaluation.export import FILES, TOLERANCE, export


def test_every_format_of_s3d_computes_the_same(tmp_path: Path) -> None:
    found = export(weights("s3d"), tmp_path)
    assert set(found) == set(FILES.values())
    assert all(0 <= difference <= TOLERANCE for difference in found.values())
