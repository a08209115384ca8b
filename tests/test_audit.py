"""Audit of version floors and pins: the script itself, and its result for this repository."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from vicc_ray.utils.background_thread import background_thread

ROOT = Path(__file__).parents[1]
KNOWN = {
    "date": "2026-01-31",
    "advisories": [{"package": "some-package", "affected": ">=1.2,<1.5", "id": "CVE-1", "what": "explodes"}],
    "accepted": [],
}


def repository(folder: Path, floor: str, pin: str, accepted: str = "") -> Path:
    """Repository with one dependency and one pin of ``Some.Package``, in different spellings."""
    (folder / "requirements").mkdir()
    (folder / "pyproject.toml").write_text(
        f'[build-system]\nrequires = []\n[project]\nname = "x"\ndependencies = ["Some.Package{floor}"]\n'
    )
    (folder / "requirements" / "dev.txt").write_text(
        f"some_package=={pin} ; sys_platform == 'x' \\\n    --hash=sha256:0\n"
    )
    entry = {"package": "some-package", "version": accepted, "id": "CVE-1", "why": "there is no other"}
    known = {**KNOWN, "accepted": [entry] if accepted else []}
    (folder / "requirements" / "advisories.json").write_text(json.dumps(known))
    return folder


def audit(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = ROOT / "requirements" / "audit.py"
    return subprocess.run(
        [sys.executable, script, "--root", root, *arguments], capture_output=True, text=True, timeout=60
    )


def test_this_repository_has_no_known_advisory() -> None:
    done = audit(ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("floor", "pin", "accepted", "reported"),
    [
        (">=1.5", "1.5", "", []),
        (">=1.4", "1.5", "", ["pyproject.toml"]),
        (">=1.0", "1.5", "", ["pyproject.toml"]),  # allows later versions
        (">=1.5,<3", "1.4.9", "", ["requirements/dev.txt"]),
        (">=1.5", "1.1", "", []),
        (">=1.5", "1.4.9", "1.4.9", []),
        (">=1.5", "1.4.8", "1.4.9", ["requirements/dev.txt"]),
        ("~=1.3", "1.2", "", ["pyproject.toml", "requirements/dev.txt"]),
    ],
)
def test_affected_floor_and_pin_are_reported_with_the_advisory(
    floor: str, pin: str, accepted: str, reported: list[str], tmp_path: Path
) -> None:
    done = audit(repository(tmp_path, floor, pin, accepted))
    lines = done.stderr.splitlines()
    assert done.returncode == bool(reported)
    assert len(lines) == len(reported) and all("CVE-1" in line and "explodes" in line for line in lines)
    assert all(place in line for place, line in zip(reported, lines, strict=True))
    assert KNOWN["date"] in done.stdout


def test_dependency_without_a_floor_is_refused(tmp_path: Path) -> None:
    done = audit(repository(tmp_path, "<3", "1.5"))
    assert done.returncode != 0 and "Some.Package" in done.stderr


def test_pins_satisfy_the_requirements_of_the_project() -> None:
    """Otherwise the tested versions differ from those that users install; `make requirements` updates the pins."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(line) for line in [*project["dependencies"], *project["optional-dependencies"]["dev"]]]
    pinned = [
        Requirement(line.rstrip(" \\"))
        for line in (ROOT / "requirements" / "dev.txt").read_text().splitlines()
        if "==" in line and line[0] != " "
    ]
    for one in wanted:
        versions = [
            pin for pin in pinned if canonicalize_name(pin.name) == canonicalize_name(one.name) and _meet(pin, one)
        ]
        assert versions, one
        for pin in versions:
            (version,) = (part.version for part in pin.specifier)
            assert one.specifier.contains(version), (one, version)


def _meet(pin: Requirement, one: Requirement) -> bool:
    """Whether the markers of both apply to a common Python version."""
    pythons = [
        {"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.1", "sys_platform": "linux"}
        for minor in range(10, 15)
    ]
    return any(all(part.marker is None or part.marker.evaluate(python) for part in (pin, one)) for python in pythons)


class Index(BaseHTTPRequestHandler):
    """Package index that answers for version 1.5 as PyPI does."""

    def do_GET(self) -> None:
        advisory = {
            "id": "PYSEC-2",
            "aliases": ["CVE-2"],
            "fixed_in": ["1.4.1", "1.6"],
            "summary": "a new one",
            "withdrawn": None,
        }
        withdrawn = {"id": "PYSEC-3", "aliases": [], "fixed_in": ["9"], "withdrawn": "2026-01-01"}
        advisories = [advisory, withdrawn] if self.path == "/some-package/1.5/json" else []
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"vulnerabilities": advisories}).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.slow
def test_the_advisory_list_is_updated_from_an_index(tmp_path: Path) -> None:
    root = repository(tmp_path, ">=1.5", "1.7")
    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server, background_thread(lambda over: server.serve_forever()):
        try:
            done = audit(root, "--renew", "--index", f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
    known = json.loads((root / "requirements" / "advisories.json").read_text())
    assert done.returncode == 1 and "CVE-2" in done.stderr
    assert [(entry["id"], entry["affected"]) for entry in known["advisories"]] == [
        ("CVE-1", ">=1.2,<1.5"),
        ("CVE-2", "<1.6"),
    ]
    assert known["date"] > KNOWN["date"]
    assert audit(root).returncode == 1
