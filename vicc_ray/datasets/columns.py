"""Which column of a list is which: by its name without blanks and case, and an error where one is nearly right."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vicc_ray.errors import UserError

IGNORED = "_"
"""A column whose name begins so is not looked at."""
NEAR = 0.75
"""Likeness (of difflib) from which on a name is taken for a slip of the pen, if it is as long but for two letters."""
SYNONYMS = {
    "path": "file files filename filenames filepath fname video videos videoname videopath clip url uri name relpath",
    "label": "class classes classname cls category categories target targets action activity annotation tag gt lbl y",
    "source": "group groups recording origin original parent youtube youtubeid",
    "split": "subset set fold partition usage holdout train test",
}
"""What others call the columns."""
BEFORE = frozenset(("is", "data", "dataset", "video"))
AFTER = frozenset(("name", "id", "idx", "index", "no", "nr", "num", "number", "text"))
"""Words around a column's name that leave it what it is."""


@dataclass(frozen=True)
class Columns:
    """The columns of one list.

    Attributes:
        used: the name in the list by the known name.
        ignored: the other names.
        missing: known names that no column has.
    """

    used: Mapping[str, str]
    ignored: tuple[str, ...]
    missing: tuple[str, ...]

    def __str__(self) -> str:
        used = [name if name == given else f"{name} (written {given!r})" for name, given in self.used.items()]
        text = f"columns used: {', '.join(used)}"
        text += f"; not there: {', '.join(self.missing)}" if self.missing else ""
        return text + (f"; ignored: {', '.join(self.ignored)}" if self.ignored else "")


def match_columns(given: Iterable[str], known: Sequence[str], where: str) -> Columns:
    """Find the known columns among the given names.

    Raises:
        UserError: two columns have one name, or one resembles a known column that is not there.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    given = list(given)
    for name in given:
        by_name[normalized_name(name)].append(name)
    by_name.pop("", None)  # what a comma at the end of the line makes
    for name, same in by_name.items():
        if len(same) > 1:
            raise UserError(
                f"{where}: {len(same)} columns are named {name} ({', '.join(map(repr, same))}); one may stay, name the "
                f"others {IGNORED}{name} to have them ignored"
            )
    used = {name: by_name[name][0] for name in known if name in by_name}
    missing = tuple(name for name in known if name not in used)
    ignored = tuple(same[0] for name, same in by_name.items() if name not in used)
    alike = [(name, like) for name in ignored for like in missing if _resembles(name, like)]
    if alike:
        ways = [
            f"no column named {like}; {name!r} resembles it: name it {like} if it is that, or "
            f"{IGNORED}{normalized_name(name)} to have it ignored"
            for name, like in alike
        ]
        lists = f"(known columns: {', '.join(known)}; found: {', '.join(given)})"
        raise UserError(f"{where}: {'; '.join(ways)} {lists}")
    return Columns(used, ignored, missing)


def normalized_name(name: str) -> str:
    """What of a column's name counts."""
    return unicodedata.normalize("NFKC", name).strip(" \t\r\n\v\f\ufeff\u200b").casefold()


def _resembles(name: str, known: str) -> bool:
    """Whether a name is a synonym, is made of nothing but synonyms, ends in the known name, or is nearly that.

    A synonym among other words says nothing: ``original_width`` is no source, and ``train_acc`` no split.
    """
    if normalized_name(name).startswith(IGNORED):
        return False
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    words = [word for word in re.split(r"[\W_]+", normalized_name(parted)) if word]
    core = _without_fillers(words)
    also = {known, *SYNONYMS.get(known, "").split()}
    alike = any(some and also.issuperset(some) for some in (words, core, ["".join(words)]))
    return (
        alike or core[-1:] == [known] or any(_is_slip(other, known) for other in (normalized_name(name), "".join(core)))
    )


def _is_slip(name: str, known: str) -> bool:
    alike = difflib.SequenceMatcher(None, known, name).ratio() >= NEAR
    return alike and abs(len(name) - len(known)) <= 2


def _without_fillers(words: Sequence[str]) -> Sequence[str]:
    while words and words[-1] in AFTER:
        words = words[:-1]
    while words and words[0] in BEFORE:
        words = words[1:]
    return words
