"""Griffe extension: reST's marks in docstrings as Markdown, which mkdocstrings renders."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|func|meth|mod|attr):`([^`]+)`")
DOUBLE_BACKTICKS = re.compile(r"``([^`]+)``")


class RestRoles(griffe.Extension):
    """Replaces ``:class:`x``` and double backticks by single ones."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """See :meth:`griffe.Extension.on_instance`."""
        if obj.docstring:
            text = ROLE.sub(lambda match: f"`{match[1].lstrip('~')}`", obj.docstring.value)
            obj.docstring.value = DOUBLE_BACKTICKS.sub(r"`\1`", text)
