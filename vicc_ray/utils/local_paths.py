"""Paths of this machine as users write them: literal, but for a leading ``~`` and for ``file://``."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from vicc_ray.errors import UserError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(/+)")
_SECRETS = re.compile(r"://(?:[^/@\s]*|[^/@\s:]+:(?!\d+/)[^@\s]*)@")
READ_HERE = "it is read from this machine: copy it here, and give its path"
"""What to do with an address of something that cannot be read from one."""
WRITTEN_HERE = (
    "it is written to a folder, on a cluster to one that all machines see: give the path of such a folder, and copy it "
    "to the address when it is finished"
)
"""What to do with an address where only a folder can be written."""


def is_address(text: str) -> bool:
    """Whether a text is an address such as ``s3://bucket/prefix``; ``file://`` is a path of this machine."""
    match = _SCHEME.match(text)
    return match is not None and len(match[2]) > 1 and match[1].lower() != "file"


def local_path(given: Path | str, instead: str = READ_HERE) -> Path:
    """The path that is meant; ``?``, ``#`` and ``%`` stand for themselves.

    Args:
        instead: what to do, where an address is given.

    Raises:
        UserError: an address, or what is nearly one (``s3:/bucket``), or a home folder that nobody knows.
    """
    text = str(given)
    match = _SCHEME.match(text)
    if match is None:
        return _literal(text)
    if match[1].lower() == "file":
        return _of_file_address(text, text[match.end(1) + 1 :])
    if is_address(text):
        raise UserError(f"{without_secrets(text)} is an address; {instead}")
    address = without_secrets(f"{match[1]}://{text[match.end() :]}")
    raise UserError(f"{text} is nearly the address {address}; write ./{text} for a folder of this machine")


def without_secrets(text: str) -> str:
    """An address, or a text with addresses, without what stands before the @."""
    return re.sub(r"\S+", lambda word: _without_secrets(word[0]), text)


def _without_secrets(word: str) -> str:
    before, at, rest = word.rpartition("@")  # no secret is beyond it: looking there for every :// takes minutes
    return _SECRETS.sub("://", before + at) + rest


def _literal(text: str) -> Path:
    """A path in which nothing is an address; ``./`` says that also a ~ is none."""
    if text.startswith("./"):
        return Path(text).absolute()  # without ./ it would be read otherwise the next time
    try:
        return Path(text).expanduser()
    except RuntimeError:  # nobody's home, or a name that begins with ~
        if text.partition("/")[0] != "~":
            return Path(text)
        raise UserError(f"{text}: this user has no home folder (HOME is not set); write the path in full") from None


def _of_file_address(text: str, rest: str) -> Path:
    """``/a``, ``///a`` and ``//localhost/a`` behind ``file:``."""
    host, slash, path = rest[2:].partition("/") if rest.startswith("//") else ("", "/", rest[1:])
    if host not in ("", "localhost") or not slash:
        raise UserError(f"{text} names a machine, {host}; a file of this machine is file:///{unquote(rest[2:])}")
    return Path("/" + unquote(path))
