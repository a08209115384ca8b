"""Matching of a list's column names: spaces and case do not count, and a near miss is an error."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vicc_ray.errors import UserError

IGNORED_PREFIX = "_"
"""Columns with this prefix are ignored."""
TYPO_RATIO = 0.75
"""Similarity (difflib's ratio) from which a name of similar length counts as a typo."""
TYPO_LENGTH = 2
"""Largest difference in length of a typo."""
SYNONYMS = {
    "path": "file files filename filenames filepath fname video videos videoname videopath clip url uri name relpath",
    "label": "class classes classname cls category categories target targets action activity annotation tag gt lbl y",
    "source": "group groups recording origin original parent youtube youtubeid",
    "split": "subset set fold partition usage holdout train test",
}
"""Known column -> common other names for it."""
FILLER_PREFIXES = frozenset(("is", "data", "dataset", "video"))
FILLER_SUFFIXES = frozenset(("name", "id", "idx", "index", "no", "nr", "num", "number", "text"))
"""Words before and after a column's name that do not change its meaning."""


@dataclass(frozen=True)
class Columns:
    """Matched columns of one list.

    Attributes:
        used: known name -> name in the list.
        ignored: names in the list that match no known name.
        missing: known names without a column.
    """

    used: Mapping[str, str]
    ignored: tuple[str, ...]
    missing: tuple[str, ...]

    def __str__(self) -> str:
        used = [name if name == written else f"{name} (written {written!r})" for name, written in self.used.items()]
        text = f"columns used: {', '.join(used)}"
        text += f"; missing: {', '.join(self.missing)}" if self.missing else ""
        return text + (f"; ignored: {', '.join(self.ignored)}" if self.ignored else "")


def match_columns(names: Iterable[str], known: Sequence[str], where: str) -> Columns:
    """Match the column names of a list to the known ones.

    Args:
        where: name of the list, for messages.

    Raises:
        UserError: two columns have the same name, or one resembles a known column that is missing.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    names = list(names)
    for name in names:
        by_name[normalized_name(name)].append(name)
    by_name.pop("", None)  # from a comma at the end of the line
    for name, same in by_name.items():
        if len(same) > 1:
            raise UserError(
                f"{where}: {len(same)} columns are named {name} ({', '.join(map(repr, same))}); keep one, and rename "
                f"the others to {IGNORED_PREFIX}{name} to ignore them"
            )
    used = {name: by_name[name][0] for name in known if name in by_name}
    missing = tuple(name for name in known if name not in used)
    ignored = tuple(same[0] for name, same in by_name.items() if name not in used)
    alike = [(name, like) for name in ignored for like in missing if _resembles(name, like)]
    if alike:
        hints = [
            f"no column named {like}, but {name!r} resembles it: rename it to {like} if it is that, or to "
            f"{IGNORED_PREFIX}{normalized_name(name)} to ignore it"
            for name, like in alike
        ]
        lists = f"(known columns: {', '.join(known)}; given: {', '.join(names)})"
        raise UserError(f"{where}: {'; '.join(hints)} {lists}")
    return Columns(used, ignored, missing)


def normalized_name(name: str) -> str:
    """Column name in lower case, in Unicode form NFKC, without surrounding whitespace."""
    return unicodedata.normalize("NFKC", name).strip(" \t\r\n\v\f\ufeff\u200b").casefold()


def _resembles(name: str, known: str) -> bool:
    """Whether a name consists of synonyms of the known name, ends in it, or is a typo of it.

    A synonym among other words is no match: ``original_width`` is not the source, ``train_acc`` not the split.
    """
    if normalized_name(name).startswith(IGNORED_PREFIX):
        return False
    snake_case = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    words = [word for word in re.split(r"[\W_]+", normalized_name(snake_case)) if word]
    core = _without_fillers(words)
    synonyms = {known, *SYNONYMS.get(known, "").split()}
    is_synonym = any(some and synonyms.issuperset(some) for some in (words, core, ["".join(words)]))
    spellings = (normalized_name(name), "".join(core))
    return is_synonym or core[-1:] == [known] or any(_is_typo(spelling, known) for spelling in spellings)


def _is_typo(name: str, known: str) -> bool:
    similar = difflib.SequenceMatcher(None, known, name).ratio() >= TYPO_RATIO
    return similar and abs(len(name) - len(known)) <= TYPO_LENGTH


def _without_fillers(words: Sequence[str]) -> Sequence[str]:
    while words and words[-1] in FILLER_SUFFIXES:
        words = words[:-1]
    while words and words[0] in FILLER_PREFIXES:
        words = words[1:]
    return words
