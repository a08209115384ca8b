"""Whatever way a name takes to the terminal: it is not obeyed, and no line of it looks like one of ours."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from vicc_ray.cli.submit import print_log
from vicc_ray.config.yaml import format_value, parse_yaml
from vicc_ray.utils.visible_text import visible

ROOT = Path(__file__).parents[1]
NAME = "a\x1b]0;owned\x07\x9b2J\u202e\u2066\u200b\udcff[red]\rerror: :smile:\nerror: forged\x1b[8mb"
"""Of a file, as a shell may hand it over."""
OWN = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[hl]|\x1b\[[0-9]*A|\x1b\[2K|\r")
"""What our own displays do: colors, the cursor hidden and moved up, lines taken away."""
OBEYED = "\x1b\x07\x9b\u202e\u2066\u200b\r"
SHOWN = (r"\x1b]0;owned\x07\x9b2J\u202e\u2066\u200b\udcff[red]\rerror: :smile:", r"\x1b[8mb")
WAYS = {
    "line": "print_line(NAME)",
    "logged": "LOG.warning('of %s', NAME)",
    "warning": "warnings.warn(NAME)",
    "traceback": "traced(lambda: int(NAME[1:] + NAME))",
    "error": "traced(lambda: broken(NAME))",
    "above the bar": "bar.print(NAME, 'warning')",
    "console": "Console().print_line(NAME)",
}
"""Those that tell our lines from line ends of names."""
OTHERS = {
    "print": "print(NAME)",
    "standard error": "print(NAME, file=sys.stderr)",
    "logged by a library": "logging.getLogger('ray.data').warning('of %s', NAME)",
    "traceback of a thread": "t = threading.Thread(target=broken, args=(NAME,)); t.start(); t.join()",
    "not flushed": "sys.stdout.write(NAME); sys.stdout.flush(); print()",
}
PROGRAM = """
import logging, sys, threading, warnings
from vicc_ray.utils.standard_streams import Output, print_line
output = Output()
from vicc_ray.utils.console import Console
from vicc_ray.utils.log import LOG
from vicc_ray.utils.progress_bar import ProgressBar

def broken(name):
    raise RuntimeError(name)

def traced(call):
    try:
        call()
    except Exception:
        sys.excepthook(*sys.exc_info())

NAME = eval(sys.argv[1])
with ProgressBar("doing", 2, show=%s) as bar:
%s
output.finish()
"""
TABLE = """
from vicc_ray.sweep.live_table import leaderboard
from vicc_ray.sweep.trial import Trial
trial = Trial(0, {"model.backbone": NAME}, state="failed", reason=NAME)
Console().print(leaderboard([trial], 2, 1.0, NAME))
bar = ProgressBar(NAME, 2)
with bar:
    bar.update(1, NAME, NAME)
"""


def in_terminal(program: str) -> str:
    """What a terminal of 250 columns gets of a program's two streams."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "250", "TERM": "xterm"}
    command = [sys.executable, "-c", program, ascii(NAME)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    written = b""
    with suppress(OSError):  # how the end of a terminal reads
        while block := os.read(ours, 2**16):
            written += block
    assert process.wait() == 0, written
    os.close(ours)
    return written.decode().replace("\r\n", "\n")


@pytest.mark.slow
@pytest.mark.parametrize("bar", [False, True])
def test_control_sequences_in_names_never_reach_the_terminal(bar: bool) -> None:
    """With a bar, what is printed meanwhile is shown above it."""
    lines = [f"    print('--{way}', flush=True)\n    {do}" for way, do in {**WAYS, **OTHERS}.items()]
    if not bar:
        lines = [line for line in lines if "bar." not in line]
    written = in_terminal(PROGRAM % (bar, "\n".join(lines)) + (TABLE if bar else ""))
    assert "\x1b[8m" not in written and "\x1b]8;" not in written, "concealed, or a link"
    shown = OWN.sub("\n" if bar else "", written)
    assert not set(OBEYED) & set(shown)
    _, *told = re.split("^--", shown, flags=re.MULTILINE)
    assert len(told) == len(lines)
    for one in told:
        way, *rest = one.split("\n")
        assert all(part in "".join(rest) for part in SHOWN), way
        if way in WAYS:
            assert not [line for line in rest if line.startswith("error")], way


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["report", "config", "nothing"])
def test_argument_errors_cannot_be_forged_by_a_name(verb: str, tmp_path: Path) -> None:
    options = {"report": ["--run", NAME], "nothing": [], "config": ["demo", NAME]}[verb]
    done = subprocess.run(
        [sys.executable, "-m", "vicc_ray", verb if options else NAME, *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    told = done.stderr.decode()
    assert done.returncode == 2
    assert "owned" in told
    assert not set(OBEYED) & set(told + done.stdout.decode())
    assert not [line for line in told.splitlines() if line.startswith("error: forged")]


def test_job_logs_are_printed_without_control_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    print_log("\x1b[36m(worker)\x1b[0m of a\r\n\tb\x1b]0;owned\x07\x1b[2J\u202e\n")
    assert capsys.readouterr().out == "(worker) of a\n\tb\\x1b]0;owned\\x07\\x1b[2J\\u202e\n"


@pytest.mark.parametrize("name", [NAME, "\u2028 \u200b", "日本 é", "\U000e0041", ["[\x9b]", 1], {"\ufeff": "\x85"}])
def test_printed_settings_parse_back_to_the_same_value(name: object) -> None:
    text = format_value(name)
    assert visible(text) == text
    assert parse_yaml(text, "it") == name
