"""Escaping of control and invisible characters in text for people.

File names, labels and messages come from whoever made the videos. A terminal interprets some of their characters, which
could hide or forge lines.
"""

from __future__ import annotations

import re
import unicodedata

from rich.cells import cell_len

LINE_ENDS = "\n\t"
OWN_BREAK = "\n  "
"""Line break within a message of this package; its indentation tells the next line from a new message."""
NOT_PLAIN = re.compile("[^ -~]")
NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
UNSEEN = frozenset(
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x2065, 0x3164, 0xFFA0, 0x1D159))
) | frozenset(map(chr, (*range(0xFFF0, 0xFFF9), *range(0xE0000, 0xE1000))))
"""Characters without a shape: fillers, selectors, tags, unassigned."""
ZWNJ, ZWJ = "\u200c", "\u200d"
KEYCAP = "\u20e3"
VIRAMA = 9
"""Combining class of viramas, after which Indic scripts use joiners."""
MARKS = 8
"""Most combining marks on a letter; more of them overlap the neighboring lines."""


def visible(name: str) -> str:
    """Text of one line with invisible and control characters as Python escapes.

    Letters of all scripts, their marks and emoji stay, and joiners where a script or an emoji needs them. A backslash
    is not escaped: the text is for people and is not parsed.
    """
    return name if name.isascii() and name.isprintable() else _shown(name, "")


def visible_lines(text: str) -> str:
    """Text of several lines, escaped; line ends and tabs stay."""
    plain = text.isascii() and text.replace("\n", "").replace("\t", "").isprintable()
    return text if plain else _shown(text, LINE_ENDS)


def visible_message(text: str) -> str:
    """Message, escaped; only :data:`OWN_BREAK` breaks a line, other line ends belong to names."""
    return OWN_BREAK.join(map(visible, text.split(OWN_BREAK)))


def indented(text: str) -> str:
    """Foreign text such as a traceback, escaped, with all lines but the first indented."""
    return "\n".join(f"  {line}" if number else line for number, line in enumerate(visible_lines(text).split("\n")))


def padded(name: str, width: int) -> str:
    """Escaped name, padded to ``width`` terminal columns."""
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
    """Number of marks between the letter and this position; :data:`MARKS` if there is no letter."""
    for count in range(MARKS + 1):
        before = at - 1 - count
        if before < 0 or text[before] in LINE_ENDS:
            return MARKS
        if unicodedata.category(text[before]) not in ("Mn", "Me"):
            return count
    return MARKS


def _is_needed_joiner(text: str, at: int) -> bool:
    """Whether a joiner is meaningful: between two emoji (ZWJ), after a virama, or between Arabic letters (ZWNJ)."""
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
    """Whether a variation selector follows a sign that has a text and an emoji form."""
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if text[at] < "\ufe0e" or not before:
        return False
    signs = ("So", "Sm", "Po", "Pd")
    return after == KEYCAP if before.isascii() else _is_picture(before) or unicodedata.category(before) in signs


def _is_picture(char: str) -> bool:
    """Whether a character is a pictograph, also one newer than Python's Unicode table."""
    return bool(char) and ("\U0001f000" <= char <= "\U0001faff" or unicodedata.category(char) in ("So", "Sm"))
