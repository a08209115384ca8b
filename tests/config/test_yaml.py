"""YAML of somebody else: read, or refused in words; never a traceback, nor more memory than the text is long."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from vicc_ray.config.loader import load_config
from vicc_ray.config.yaml import MAX_BYTES, MAX_DEPTH, format_document, parse_yaml, read_yaml
from vicc_ray.errors import UserError
from vicc_ray.reports.run.settings import read_settings
from vicc_ray.sweep.config import load_sweep

LAUGHS = b"seed: 1\na: &a [x, x, x]\nb: [*a, *a, *a]\n"
HOSTILE = {
    "aliases": (LAUGHS, 2),
    "an alias to itself": (b"seed: &a [*a]\n", 1),
    "a merged mapping": (b"a: &a {batch: 8}\ntrain: {<<: *a}\n", 1),
    "open brackets": (b"seed: 1\ntrain: " + b"[" * 20_000, 2),
    "open braces": (b"train: " + b"{a: " * 20_000, 1),
    "indents": (b"".join(b" " * n + b"a:\n" for n in range(500)), MAX_DEPTH),
    "a tag that makes objects": (b"seed: 1\nname: !!python/object/apply:os.system [id]\n", 2),
    "a tag that makes numbers": (b"seed: !!int foo\n", 1),
    "a tag of one's own": (b"seed: !mine 3\n", 1),
    "more digits than Python reads": (b"name: a\nseed: " + b"9" * 5000, 2),
    "more digits than 64 bits": (b"seed: -" + b"9" * 21, 1),
    "a number above all floats": (b"seed: 1\nname: 1e999\n", 2),
    "NUL": (b"seed: 1\nname: a\0b\n", 2),
    "an escape sequence": (b"seed: 1\n\nname: a\x1b]0;b\n", 3),
    "another encoding": (b"seed: 1\nname: caf\xe9\n", 2),
    "two documents": (b"seed: 1\n---\nseed: 2\n", 2),
}
READERS = {"recipe": lambda path: load_config(str(path)), "sweep": load_sweep, "run": read_settings}


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_yaml_is_refused_with_file_and_line(hostile: str, reader: str, tmp_path: Path) -> None:
    content, line = HOSTILE[hostile]
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        READERS[reader](path)
    assert f"{path}, line {line}:" in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 300


@pytest.mark.slow
@pytest.mark.parametrize("text", ["[" * 20_000, "9" * 5000, "!!int foo", "1e999", "[&a x, *a]", "a\x1b", "\udcff"])
def test_a_setting_on_the_command_line_is_read_as_strictly(text: str) -> None:
    with pytest.raises(UserError, match=r"--set train\.global_batch_size"):
        load_config("demo", [f"train.global_batch_size={text}"])


def test_a_key_on_the_command_line_has_an_end() -> None:
    with pytest.raises(UserError, match="--set"):
        load_config("demo", ["a." * (2 * sys.getrecursionlimit()) + "b=1"])


def test_a_text_has_a_longest_length(tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_text("#" * (MAX_BYTES - 1) + "\n")
    assert read_yaml(path, "long") is None
    path.write_text("#" * MAX_BYTES + "\n")
    with pytest.raises(UserError, match="long"):
        read_yaml(path, "long")
    with pytest.raises(UserError, match="/dev/zero"):
        load_config("/dev/zero")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.yaml")
    with pytest.raises(UserError):
        load_config(str(tmp_path / "config.yaml"))
    with pytest.raises(UserError):
        load_config("a\0b")


def test_a_pipe_of_the_shell_is_read() -> None:
    read, write = os.pipe()
    os.write(write, b"seed: 4\n")
    os.close(write)
    assert load_config(f"/dev/fd/{read}").seed == 4
    os.close(read)


def test_a_byte_order_mark_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "mark.yaml"
    path.write_bytes(b"\xef\xbb\xbfseed: 5\n")
    assert load_config(str(path)).seed == 5


def test_what_is_allowed_is_read() -> None:
    text = "a: 9223372036854775807\nb: -1e308\nc: " + "[" * (MAX_DEPTH - 2) + "]" * (MAX_DEPTH - 2) + "\nd: '<<'"
    content = parse_yaml(text, "text")
    assert isinstance(content, dict)
    assert (content["a"], content["b"], content["d"]) == (2**63 - 1, -1e308, "<<")
    assert json.dumps(content["c"]) == "[" * (MAX_DEPTH - 2) + "]" * (MAX_DEPTH - 2)


@pytest.mark.parametrize("value", ["1e-3", "yes", "2020-01-01", "0o17", "", "~", 1e-7, None, [1, "1"], {"a": True}])
def test_a_document_reads_back_equal(value: object) -> None:
    assert parse_yaml(format_document({"key": value}), "text") == {"key": value}
