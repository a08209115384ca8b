"""Errors for the user, printed without a traceback."""

from __future__ import annotations


class UserError(Exception):
    """Invalid input from the user.

    The message names what is wrong, what was given, what is allowed and what to do. The command line prints it and
    returns exit code 2.
    """
