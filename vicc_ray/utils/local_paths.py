"""Local paths as users write them: literal, except for a leading ``~`` and ``file://``."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from vicc_ray.errors import UserError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(/+)")
_SECRETS = re.compile(r"://(?:[^/@\s]*|[^/@\s:]+:(?!\d+/)[^@\s]*)@")
READ_HERE = "only local files can be read here: copy it to this machine and give its path"
"""Advice for an address where only a local file can be read."""
WRITTEN_HERE = (
    "output goes to a folder (on a cluster, one that all nodes share): give the path of a folder, and copy the output "
    "to the address afterwards"
)
"""Advice for an address where only a folder can be written."""


def is_address(text: str) -> bool:
    """Whether a text is an address such as ``s3://bucket/prefix``; ``file://`` counts as a local path."""
    match = _SCHEME.match(text)
    return match is not None and len(match[2]) > 1 and match[1].lower() != "file"


def local_path(given: Path | str, instead: str = READ_HERE) -> Path:
    """Local path from user input; ``?``, ``#`` and ``%`` are literal.

    Args:
        instead: advice for the error about an address.

    Raises:
        UserError: an address, almost an address (``s3:/bucket``), or ``~`` without a home folder.
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
    raise UserError(f"{text} looks like the address {address}; write ./{text} for a local folder")


def without_secrets(text: str) -> str:
    """Text with the credentials (before the @) removed from all addresses."""
    return re.sub(r"\S+", lambda word: _without_secrets(word[0]), text)


def _without_secrets(word: str) -> str:
    before, at, rest = word.rpartition("@")  # no credentials follow; searching there for every :// takes minutes
    return _SECRETS.sub("://", before + at) + rest


def _literal(text: str) -> Path:
    """Path that is not an address; with a leading ``./`` a ~ is literal as well."""
    if text.startswith("./"):
        return Path(text).absolute()  # without ./ it would be parsed differently the next time
    try:
        return Path(text).expanduser()
    except RuntimeError:  # an unknown user, or a file name that starts with ~
        if text.partition("/")[0] != "~":
            return Path(text)
        raise UserError(f"{text}: this user has no home folder (HOME is not set); write the path in full") from None


def _of_file_address(text: str, rest: str) -> Path:
    """Path of ``file:`` followed by ``/a``, ``///a`` or ``//localhost/a``."""
    host, slash, path = rest[2:].partition("/") if rest.startswith("//") else ("", "/", rest[1:])
    if host not in ("", "localhost") or not slash:
        raise UserError(f"{text} names the host {host}; a local file is file:///{unquote(rest[2:])}")
    return Path("/" + unquote(path))
