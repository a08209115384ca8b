"""How both pages write numbers."""

from __future__ import annotations


def percent(share: float | None) -> str:
    """A share in percent, like "41.2 %" with a no-break space; a dash for an unknown one."""
    return percent_fixed(share).replace(".0\u00a0%", "\u00a0%")


def percent_fixed(share: float | None) -> str:
    """The same, always with one decimal, so that the numbers of a column align."""
    return "–" if share is None or share != share else f"{100 * share:.1f}\u00a0%"


def points(difference: float) -> str:
    """A difference of shares in percentage points with its sign: "+12.5", "−3"."""
    value = round(100 * difference, 1)
    return ("+" if value > 0 else "−" if value < 0 else "±") + f"{abs(value):.1f}".removesuffix(".0")


def interval(low: float, high: float) -> str:
    """A confidence interval in percent, without the sign: "38.1 to 44.0"."""
    return f"{100 * low:.1f} to {100 * high:.1f}"
