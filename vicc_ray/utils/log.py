"""Logger of the package: one line per record, on stderr unless the application configures logging."""

from __future__ import annotations

import logging

from vicc_ray.utils.visible_text import visible


def _make_visible(record: logging.LogRecord) -> bool:
    """Escape control characters in a record, here and in Ray's processes."""
    record.msg, record.args = visible(record.getMessage()), ()
    return True


LOG = logging.getLogger("vicc_ray")
LOG.addFilter(_make_visible)
