"""Errors of this package in what Ray raises for them."""

from __future__ import annotations

import re

from vicc_ray.errors import UserError

_LINE = re.compile(rf"^{UserError.__module__}\.{UserError.__name__}: (.+)$", re.MULTILINE)


def user_error_in(error: BaseException) -> UserError | None:
    """The :class:`UserError` of a task, if that was the cause: of it, Ray Data keeps the line in a traceback alone."""
    found = _LINE.search(str(error))
    return UserError(found[1]) if found else None
