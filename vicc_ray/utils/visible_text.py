"""Text of others made visible: no character of it moves the cursor, hides or turns what stands beside it.

Names of files, labels and messages come from whoever made the videos, and a terminal obeys some of their characters.
What people read goes through here; what machines read (JSON, Parquet, CSV) keeps the true names.
"""

from __future__ import annotations

import re
import unicodedata

from rich.cells import cell_len

LINE_ENDS = "\n\t"
OWN_BREAK = "\n  "
"""Between the lines of a message of ours: a line of it does not begin where messages begin."""
NOT_PLAIN = re.compile("[^ -~]")
NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
UNSEEN = frozenset(
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x2065, 0x3164, 0xFFA0, 0x1D159))
) | frozenset(map(chr, (*range(0xFFF0, 0xFFF9), *range(0xE0000, 0xE1000))))
"""Letters, marks and places without a shape: fillers, selectors, tags."""
ZWNJ, ZWJ = "\u200c", "\u200d"
KEYCAP = "\u20e3"
VIRAMA = 9
"""The combining class of signs after which Indic scripts join letters or keep them apart."""
MARKS = 8
"""Marks that a letter may carry; a heap of them grows over the lines above and below."""


def visible(name: str) -> str:
    """A name, or another text of one line, with escapes as Python writes them for what is unseen or does something.

    Letters of all scripts stay with their marks, and so do emoji; joiners stay where a script or an emoji needs them.
    A backslash stays as it is: the text is for people, and is not read back.
    """
    return name if name.isascii() and name.isprintable() else _shown(name, "")


def visible_lines(text: str) -> str:
    """The same of a text of several lines, whose ends and tabs stay."""
    plain = text.isascii() and text.replace("\n", "").replace("\t", "").isprintable()
    return text if plain else _shown(text, LINE_ENDS)


def visible_message(text: str) -> str:
    """The same of a message, which has its own lines after :data:`OWN_BREAK`; other line ends are of names."""
    return OWN_BREAK.join(map(visible, text.split(OWN_BREAK)))


def indented(text: str) -> str:
    """The same of what others have written, as a traceback: only its first line begins where messages begin."""
    return "\n".join(f"  {line}" if number else line for number, line in enumerate(visible_lines(text).split("\n")))


def padded(name: str, width: int) -> str:
    """A name that has been made visible, filled up to so many columns of a terminal."""
    return name + " " * (width - cell_len(name))


def _shown(text: str, kept: str) -> str:
    def shown(found: re.Match[str]) -> str:
        return found[0] if found[0] in kept or _stays(text, found.start()) else _escaped(found[0])

    return NOT_PLAIN.sub(shown, text)


def _escaped(char: str) -> str:
    code = ord(char)
    return NAMED.get(char) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def _stays(text: str, at: int) -> bool:
    char = text[at]
    if char in (ZWNJ, ZWJ):
        return _is_needed_joiner(text, at)
    if "\ufe00" <= char <= "\ufe0f":
        return _is_needed_selector(text, at)
    kind = unicodedata.category(char)
    if kind in ("Mn", "Me") and char not in UNSEEN:
        return _marks_before(text, at) < MARKS
    return kind not in ("Cc", "Cf", "Cs", "Zl", "Zp") and char not in UNSEEN


def _marks_before(text: str, at: int) -> int:
    """Marks between a letter and this place; so many as are too many where there is no letter."""
    for count in range(MARKS + 1):
        before = at - 1 - count
        if before < 0 or text[before] in LINE_ENDS:
            return MARKS
        if unicodedata.category(text[before]) not in ("Mn", "Me"):
            return count
    return MARKS


def _is_needed_joiner(text: str, at: int) -> bool:
    """Between two emoji (ZWJ), after a virama, or between two Arabic letters (ZWNJ), as names on the internet have."""
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if not before or before in (ZWNJ, ZWJ) or not _stays(text, at - 1):
        return False
    if unicodedata.combining(before) == VIRAMA:
        return True
    if text[at] == ZWJ:
        base = text[at - 2 : at - 1] if before == "\ufe0f" else before
        return _is_picture(base) and _is_picture(after)
    return all(char and unicodedata.bidirectional(char) == "AL" for char in (before, after))


def _is_needed_selector(text: str, at: int) -> bool:
    """After a sign that is drawn as text or as a picture."""
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if text[at] < "\ufe0e" or not before:
        return False
    signs = ("So", "Sm", "Po", "Pd")
    return after == KEYCAP if before.isascii() else _is_picture(before) or unicodedata.category(before) in signs


def _is_picture(char: str) -> bool:
    """Also a picture that is newer than Python's table of characters."""
    return bool(char) and ("\U0001f000" <= char <= "\U0001faff" or unicodedata.category(char) in ("So", "Sm"))
