"""The published network in every format, see ``tests/export/test_exporter.py``."""

from __future__ import annotations

from pathlib import Path

from tests.export.test_exporter import check_every_format, weights


def test_every_format_of_s3d_computes_the_same(tmp_path: Path) -> None:
    check_every_format(weights("s3d"), tmp_path)
