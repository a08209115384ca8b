"""Time codes as video players show them."""

from __future__ import annotations

import math


def clock(seconds: float) -> str:
    """ "0:07", "12:40", "1:02:40"."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minutes}:{second:02d}"


def span(start: float, end: float) -> str:
    """ "0:07-0:09": the whole seconds that a span covers."""
    return f"{clock(start)}-{clock(math.ceil(end))}"
