"""What Ray raises, in few words: errors of this package in it, and its first and last line."""

from __future__ import annotations

import re

from vicc_ray.errors import UserError

_LINE = re.compile(rf"^{UserError.__module__}\.{UserError.__name__}: (.+)$", re.MULTILINE)


def user_error_in(error: BaseException) -> UserError | None:
    """The :class:`UserError` of a task, if that was the cause: of it, Ray Data keeps the line in a traceback alone."""
    found = _LINE.search(str(error))
    return UserError(found[1]) if found else None


def first_line(error: BaseException) -> str:
    """What an error says first, without a full stop; its kind where it says nothing."""
    return _lines(error)[0].rstrip(".")


def last_line(error: BaseException) -> str:
    """What an error says last: of one from a worker, the cause below the traceback; its kind where it says nothing."""
    return _lines(error)[-1]


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
