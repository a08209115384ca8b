"""Text of others in Markdown: it is text and nothing else, on one line, of a bounded length."""

from __future__ import annotations

import json
import re

from markupsafe import Markup

from vicc_ray.utils.visible_text import visible

LONGEST = 200
"""Characters of a field; what is longer is cut off."""
LONGEST_SENTENCES = 2_000
"""Characters of a field that has sentences, as a warning."""
LONGEST_BLOCK = 20_000
"""Characters of a block."""
ACTIVE = re.compile(r"[\\`*\[\]<>#|&~$@]|(?<![^\W_])_|_(?![^\W_])|:(?=/)|(?<=\w)\.(?=[^\W\d])")
"""What begins or ends something within a line: code, emphasis, links, HTML, references, cells, formulas; and what has
readers make a link of a bare address."""
STARTS = re.compile(r"^(\d*)([-+=.)])")
"""What begins a list, or makes a heading of the line above, where it is the first of a line."""


def as_text(field: object, longest: int = LONGEST) -> str:
    """A field as Markdown that says just that."""
    return STARTS.sub(r"\1\\\2", ACTIVE.sub(r"\\\g<0>", _one_line(str(field), longest)))


def as_sentences(field: object) -> str:
    """A field of several sentences, in one paragraph."""
    return as_text(field, LONGEST_SENTENCES)


def as_code(field: object) -> str:
    """A field as a piece of code, which no backtick in it ends."""
    text = _one_line(str(field))
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return f"{fence}{space}{text or ' '}{space}{fence}"


def as_block(value: object) -> str:
    """A block of JSON, no line of which begins with a fence."""
    text = json.dumps(value, indent=1)
    return f"```json\n{text if len(text) <= LONGEST_BLOCK else json.dumps('left out, since it is too long')}\n```"


def of_field(value: object) -> object:
    """What a template makes of each value: it is escaped, unless it is a number or Markdown of our own (``Markup``)."""
    return value if isinstance(value, int | float | Markup) else as_text(value)


def _one_line(text: str, longest: int = LONGEST) -> str:
    shown = visible(text.strip())
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
