"""The log of this package: a line each, on stderr where a program that uses the package does not say otherwise."""

from __future__ import annotations

import logging

from vicc_ray.utils.visible_text import visible


def _make_visible(record: logging.LogRecord) -> bool:
    """Names are put in with ``%s``, here and in Ray's processes alike."""
    record.msg, record.args = visible(record.getMessage()), ()
    return True


LOG = logging.getLogger("vicc_ray")
LOG.addFilter(_make_visible)
