"""A suite with tests that end their process, run as ``make test`` runs ours."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[1]
SUITE = {
    "conftest.py": "from tests.conftest import pytest_xdist_make_scheduler",
    "test_middle.py": """
import os, pytest
@pytest.mark.parametrize("n", range(6))
def test_it(n):
    if n in (2, 3):
        os.abort()
""",
    "test_last.py": """
import os, pytest
@pytest.mark.parametrize("n", range(4))
def test_it(n):
    if n == 3:
        os._exit(0)
""",
    "test_only.py": "import os\ndef test_it(): os.abort()",
    "test_well.py": """
import os, pathlib, pytest
@pytest.fixture(scope="module")
def process():
    return os.getpid()
@pytest.mark.parametrize("n", range(6))
def test_it(n, process):
    assert process == os.getpid()
    with (pathlib.Path(__file__).parent / "processes").open("a") as file:
        file.write(f"{process} ")
""",
}
CRASHED = {"test_middle[2]", "test_middle[3]", "test_last[3]", "test_only"}


@pytest.mark.slow
def test_a_crash_fails_its_own_test_and_all_others_run(tmp_path: Path) -> None:
    for name, text in SUITE.items():
        (tmp_path / name).write_text(text)
    side_by_side = re.search(r"^SIDE_BY_SIDE := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert side_by_side is not None
    options = [*side_by_side[1].split(), "--rootdir", str(tmp_path), "-p", "no:cacheprovider", "-p", "no:faulthandler"]
    report = tmp_path / "report.xml"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "/dev/null", *options, f"--junitxml={report}", str(tmp_path)],
        cwd=ROOT,
        timeout=120,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout
    failed, passed = _names(report)
    assert failed == CRASHED
    every = {f"test_{file}[{n}]" for file, tests in (("middle", 6), ("last", 4), ("well", 6)) for n in range(tests)}
    assert passed == every - CRASHED
    assert len(set((tmp_path / "processes").read_text().split())) == 1  # a file that is well stays together


def _names(report: Path) -> tuple[set[str], set[str]]:
    """Tests that failed and that passed: a crashed one is named by its file and parameters."""
    failed, passed = set(), set()
    for case in ET.parse(report).iter("testcase"):
        words = re.findall(r"test_[a-z]+|\[\d\]", f"{case.get('classname')} {case.get('name')}")
        (failed if len(case) else passed).add("".join(word for word in words if word != "test_it"))
    return failed, passed
