"""Errors that Ray raises: the UserError inside one, and its first or last line."""

from __future__ import annotations

import re

from vicc_ray.errors import UserError

_LINE = re.compile(rf"^{UserError.__module__}\.{UserError.__name__}: (.+)$", re.MULTILINE)


def user_error_in(error: BaseException) -> UserError | None:
    """The :class:`UserError` that a task raised, if any; Ray Data keeps only its line in a traceback."""
    match = _LINE.search(str(error))
    return UserError(match[1]) if match else None


def first_line(error: BaseException) -> str:
    """First line of an error, without a full stop; its class name where it has no text."""
    return _lines(error)[0].rstrip(".")


def last_line(error: BaseException) -> str:
    """Last line of an error: for one from a worker, the cause below the traceback; else its class name."""
    return _lines(error)[-1]


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
