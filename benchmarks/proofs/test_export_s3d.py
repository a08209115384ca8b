"""Export of S3D in every format; smaller networks: ``tests/export/test_exporter.py``."""

from __future__ import annotations

from pathlib import Path

from tests.export.test_exporter import check_every_format, weights


def test_every_export_format_of_s3d_gives_the_same_outputs(tmp_path: Path) -> None:
    check_every_format(weights("s3d"), tmp_path)
