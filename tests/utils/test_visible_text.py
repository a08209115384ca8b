"""Text of others on a terminal: what it does is shown and not done, and what people read stays."""

from __future__ import annotations

import random
import unicodedata

import pytest
from rich.cells import cell_len

from vicc_ray.utils.visible_text import OWN_BREAK, indented, padded, visible, visible_lines, visible_message

SHOWN = {
    "\x1b]0;owned\x07.mp4": r"\x1b]0;owned\x07.mp4",
    "a\nerror: forged": r"a\nerror: forged",
    "a\r\tb\x00\x7f": r"a\r\tb\x00\x7f",
    "c1 \x9b2J": r"c1 \x9b2J",
    "\u202egpj.exe": r"\u202egpj.exe",
    "\u2066a\u2069 \u200e\u200f\u061c": r"\u2066a\u2069 \u200e\u200f\u061c",
    "line\u2028paragraph\u2029next\x85": r"line\u2028paragraph\u2029next\x85",
    "pay\u200bpal \ufeff\u00ad\u2060": r"pay\u200bpal \ufeff\xad\u2060",
    "a\u200db a\u200cb": r"a\u200db a\u200cb",
    "a\ufe0f1\ufe0f": r"a\ufe0f1\ufe0f",
    "\udcff.mp4": r"\udcff.mp4",
    "tag\U000e0041\U000e007f": r"tag\U000e0041\U000e007f",
    "\u3164\uffa0\u115f\u034f": r"\u3164\uffa0\u115f\u034f",
    "\u0301 has no letter": r"\u0301 has no letter",
}
READABLE = (
    "",
    "walk/17 (copy) [red] \\x1b 'a' \"b\" :smile:.mp4",
    "Tänzer, naïve, Ångström, Ελλάδα, Москва",
    "e\u0301 o\u0302\u0323 a\u0308",
    "日本語の動画 한국어 中文",
    "שלום العربية",
    "می\u200cخواهم",  # Persian keeps two letters apart
    "क्\u200dष क्\u200cष",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f\u200d\U0001f525 \U0001f44d\U0001f3fd 1\ufe0f\u20e3",
    "a\u00a0b\u3000c\u202fd",
)
HOSTILE = ("Cc", "Cf", "Cs", "Zl", "Zp")
NEEDED = "\u200c\u200d"
"""Characters of these kinds that some scripts need."""


@pytest.mark.parametrize("name", SHOWN)
def test_invisible_and_control_characters_are_escaped(name: str) -> None:
    assert visible(name) == SHOWN[name]


@pytest.mark.parametrize("name", READABLE)
def test_readable_text_is_unchanged(name: str) -> None:
    assert visible(name) == name
    assert visible_lines(f"{name}\n\t{name}\n") == f"{name}\n\t{name}\n"


@pytest.mark.slow
def test_no_control_character_passes_in_any_context() -> None:
    draw = random.Random(0)
    everywhere = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in HOSTILE]
    ordinary = [*"ab1 .", "é", "\u0301", "क", "\u094d", "ا", "日", "\u2764", "\ufe0f", "\U0001f469", *NEEDED]
    for _ in range(3000):
        text = "".join(draw.choice(draw.choice((everywhere, ordinary))) for _ in range(draw.randrange(12)))
        shown = visible(text)
        assert not [char for char in shown if unicodedata.category(char) in HOSTILE and char not in NEEDED]
        assert visible(shown) == shown
        assert visible_lines(text).replace("\n", r"\n").replace("\t", r"\t") == shown
        shown.encode()


@pytest.mark.slow
def test_each_character_is_unchanged_or_ascii() -> None:
    for char in map(chr, range(0x20000)):
        shown = visible(f"a{char}b")
        assert shown == f"a{char}b" or (shown.isascii() and shown.isprintable())


def test_combining_marks_are_limited() -> None:
    shown = visible("a" + "\u0301" * 500)
    assert sum(unicodedata.combining(char) > 0 for char in shown) < 10


@pytest.mark.parametrize("repeated", ["\u200d", "\u200c", "\U0001f469\u200d", "\ufe0f", "\u200d\ufe0f", "\u094d\u200d"])
def test_a_name_of_escaped_characters_has_a_maximum_length(repeated: str) -> None:
    shown = visible(f"a{5000 * repeated}b")
    assert shown.startswith("a") and shown.endswith("b")


def test_column_widths_match_the_escaped_text() -> None:
    names = [visible(name) for name in ("walk", "日本語", "\x1b[1m", "e\u0301")]
    assert {cell_len(padded(name, 12)) for name in names} == {12}


def test_names_cannot_add_lines_to_a_message() -> None:
    message = visible_message(f"first a\nerror: b{OWN_BREAK}second c\rd")
    assert message.splitlines() == [r"first a\nerror: b", r"  second c\rd"]
    assert not any(line.startswith("error") for line in indented("Traceback\nerror: x\nerror: y").splitlines())
