"""Files that are whole or absent, and what a killed process leaves of one."""

from __future__ import annotations

from pathlib import Path

from tests.pipelines.prepared import killed_while_writing
from vicc_ray.files import clear_asides


def test_only_what_was_left_aside_of_the_named_files_is_cleared(tmp_path: Path) -> None:
    own = [killed_while_writing(tmp_path / name) for name in ("a.json", "a.json", "[b].arrow")]
    others = [killed_while_writing(tmp_path / name) for name in ("aXjson", "a.json.txt", "c.html", "b.arrow")]
    (tmp_path / "a.json").write_text("{}")
    clear_asides(tmp_path, ("a.json", "[b].arrow", "not there"))
    assert not any(path.exists() for path in own)
    assert sorted(tmp_path.iterdir()) == sorted([*others, tmp_path / "a.json"])
