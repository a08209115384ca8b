"""Errors that are the user's to read, not the programmer's."""

from __future__ import annotations


class UserError(Exception):
    """Something the user gave cannot be used.

    The message names what is wrong, what was given, what is allowed and what to do; the command line prints it without
    a traceback and ends with exit code 2.
    """
