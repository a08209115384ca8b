"""Escaping of untrusted text in Markdown: plain text on one line, of bounded length."""

from __future__ import annotations

import json
import re

from markupsafe import Markup

from vicc_ray.utils.visible_text import visible

LONGEST = 200
"""Most characters of a field; longer ones are truncated."""
LONGEST_SENTENCES = 2_000
"""Most characters of a field with several sentences, such as a warning."""
LONGEST_BLOCK = 20_000
"""Most characters of a block."""
ACTIVE = re.compile(r"[\\`*\[\]<>#|&~$@]|(?<![^\W_])_|_(?![^\W_])|:(?=/)|(?<=\w)\.(?=[^\W\d])")
"""Characters with a meaning within a line: code, emphasis, links, HTML, references, cells, formulas, bare addresses."""
STARTS = re.compile(r"^(\d*)([-+=.)])")
"""Characters that, at the start of a line, begin a list or make the line above a heading."""


def as_text(field: object, longest: int = LONGEST) -> str:
    """Field as escaped Markdown."""
    return STARTS.sub(r"\1\\\2", ACTIVE.sub(r"\\\g<0>", _one_line(str(field), longest)))


def as_sentences(field: object) -> str:
    """Field of several sentences as one escaped paragraph."""
    return as_text(field, LONGEST_SENTENCES)


def as_code(field: object) -> str:
    """Field as a code span; the fence is longer than any run of backticks inside."""
    text = _one_line(str(field))
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return f"{fence}{space}{text or ' '}{space}{fence}"


def as_block(value: object) -> str:
    """Value as a code block of JSON, in which no line starts with a fence."""
    text = json.dumps(value, indent=1)
    return f"```json\n{text if len(text) <= LONGEST_BLOCK else json.dumps('omitted: too long')}\n```"


def escape_field(value: object) -> object:
    """Finalizer of templates: escapes every value except numbers and trusted Markdown (``Markup``)."""
    return value if isinstance(value, int | float | Markup) else as_text(value)


def _one_line(text: str, longest: int = LONGEST) -> str:
    shown = visible(text.strip())
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
