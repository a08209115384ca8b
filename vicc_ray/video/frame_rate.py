"""Frame rate measured from timestamps, because the rate that a container declares is often a time base or a default."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Protocol

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

DEFAULT_RATE = 25.0
"""Frames per second of a stream that declares no rate (FFmpeg's default)."""
LOWEST, HIGHEST = 0.1, 1000.0
"""Bounds of plausible rates, in frames per second."""
COARSE_TICKS = 3
"""Interval in ticks of the time base from which it counts as rounded, so that the mean is more accurate."""
TOLERANCE = Fraction(1, 20)
"""Largest relative difference of that mean, or of a declared rate, from the median."""


class Ratio(Protocol):
    """What :class:`fractions.Fraction` and PyAV's own ratios have in common."""

    @property
    def numerator(self) -> int: ...
    @property
    def denominator(self) -> int: ...


def to_fraction(ratio: Ratio | None) -> Fraction | None:
    """Ratio of PyAV as a fraction; None for one that the container lacks. PyAV 19 has a type of its own for ratios."""
    return Fraction(ratio.numerator, ratio.denominator) if ratio else None


class FrameRate:
    """Estimates the frame rate of a stream from its frames, which are added in display order.

    The rate is one over the median interval of the timestamps, which a pause or a lost frame does not change. If two
    intervals alternate, as in 24 fps film shown at 60 Hz, it is one over their mean, since the median is one of both.
    If a declared rate is equal up to the rounding of timestamps, that rate is used. Without timestamps it is FFmpeg's
    guess from the codec (``guessed_rate``), then the container's rate (``average_rate``), then :data:`DEFAULT_RATE`.
    Implausible values are skipped.
    """

    def __init__(self, stream: VideoStream) -> None:
        self._declared = (to_fraction(stream.guessed_rate), to_fraction(stream.average_rate))
        self._tick = stream.time_base or Fraction(0)
        self._pts, self._dts = _Distances(), _Distances()

    def add(self, frame: VideoFrame) -> None:
        """Add the timestamps of the next frame."""
        self._pts.add(frame.pts)
        self._dts.add(frame.dts)

    @property
    def fps(self) -> float:
        """Frames per second, from the frames so far."""
        declared = [rate for rate in self._declared if rate and LOWEST <= rate <= HIGHEST]
        # AVI files with B-frames have decoding timestamps only, which FFmpeg reports as both.
        stamps = self._pts if self._pts and self._pts.backwards <= self._dts.backwards else self._dts
        if stamps and self._tick:
            ticks = stamps.alternating([1 / (rate * self._tick) for rate in declared]) or stamps.typical()
            exact = [rate for rate in declared if self._is_rounded_to(ticks, rate)]
            measured = exact[0] if exact else 1 / (ticks * self._tick)
            if LOWEST <= measured <= HIGHEST:
                return float(measured)
        return float(declared[0]) if declared else DEFAULT_RATE

    def _is_rounded_to(self, ticks: Fraction, rate: Fraction) -> bool:
        """Whether a rate equals the measured one up to the rounding of timestamps to whole ticks."""
        difference = abs(1 / (rate * self._tick) - ticks)
        return difference <= min(Fraction(1, 2), TOLERANCE * ticks)


class _Distances:
    """Histogram of the intervals between adjacent timestamps, in ticks."""

    def __init__(self) -> None:
        self._count: Counter[int] = Counter()
        self._before: int | None = None
        self._last = 0
        self._alternations = 0  # intervals that clearly differ from the previous one
        self.backwards = 0
        """Timestamps that were not later than the previous one."""

    def __bool__(self) -> bool:
        return bool(self._count)

    def add(self, stamp: int | None) -> None:
        if stamp is not None and self._before is not None:
            if stamp > self._before:
                distance = stamp - self._before
                self._count[distance] += 1
                self._alternations += _differ(distance, self._last)
                self._last = distance
            else:
                self.backwards += 1
        self._before = stamp

    def typical(self) -> Fraction:
        """Median interval; if the intervals near it are rounded to whole ticks, their mean."""
        median = self._median()
        mean = _mean(Counter({ticks: number for ticks, number in self._count.items() if abs(ticks - median) <= 1}))
        rounded = median >= COARSE_TICKS and abs(mean - median) <= TOLERANCE * median
        return mean if rounded else median

    def alternating(self, declared: list[Fraction]) -> Fraction | None:
        """Mean of two intervals that alternate, each with more than a quarter of all; None if there are none.

        None too if that mean is neither a declared interval nor the mean of all.

        Args:
            declared: intervals of the declared rates, in ticks.
        """
        ordered, total = sorted(self._count), sum(self._count.values())
        low, high = self._at(ordered, total // 4), self._at(ordered, total - 1 - total // 4)
        if not _differ(low, high) or 2 * self._alternations <= total:
            return None
        kinds = [self._near(low), self._near(high)]
        if any(4 * sum(kind.values()) <= total for kind in kinds):
            return None
        mean = _mean(kinds[0] + kinds[1])
        return mean if any(abs(other - mean) <= TOLERANCE * mean for other in [_mean(self._count), *declared]) else None

    def _near(self, distance: int) -> Counter[int]:
        """Intervals that equal ``distance`` within the tolerance."""
        return Counter({t: n for t, n in self._count.items() if abs(t - distance) <= TOLERANCE * distance})

    def _median(self) -> Fraction:
        ordered, total = sorted(self._count), sum(self._count.values())
        middle = [self._at(ordered, place) for place in ((total - 1) // 2, total // 2)]
        return Fraction(sum(middle), 2)

    def _at(self, ordered: list[int], place: int) -> int:
        """Interval at a rank among all in sorted order."""
        for ticks in ordered:
            place -= self._count[ticks]
            if place < 0:
                return ticks
        raise IndexError(place)


def _mean(count: Counter[int]) -> Fraction:
    return Fraction(sum(ticks * number for ticks, number in count.items()), max(1, sum(count.values())))


def _differ(one: int, other: int) -> bool:
    """Whether two intervals differ by more than the tolerance of both."""
    return abs(one - other) > 2 * TOLERANCE * max(one, other)
