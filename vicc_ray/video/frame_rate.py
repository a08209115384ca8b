"""The frame rate of a stream, measured: what its container says of it is often a time base or a default."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

DEFAULT_RATE = 25.0
"""Frames a second of a stream that does not tell its rate (FFmpeg's own choice)."""
LOWEST, HIGHEST = 0.1, 1000.0
"""Frames a second beyond which no rate is believed."""
COARSE_TICKS = 3
"""Ticks of the time base from which on a distance is a rounded one, and the mean of its neighbours the truer."""
TOLERANCE = Fraction(1, 20)
"""Share by which that mean, or a rate that the container tells, may be another than the median."""


class FrameRate:
    """Notes the frames of a stream in the order of display, and tells their rate.

    The rate is one over the median distance of the time stamps: a pause or a lost frame does not change it. Where two
    distances take turns, as in a film of 24 that is shown at 60, it is one over their mean: the median would be either
    of them. Where that is what the container tells, but for rounding, it is that. Without time stamps it is what FFmpeg
    guesses from the codec (``guessed_rate``), then what the container says (``average_rate``), then
    :data:`DEFAULT_RATE`. A value that no camera has is passed over.
    """

    def __init__(self, stream: VideoStream) -> None:
        self._declared = (stream.guessed_rate, stream.average_rate)
        self._tick = stream.time_base or Fraction(0)
        self._pts, self._dts = _Distances(), _Distances()

    def add(self, frame: VideoFrame) -> None:
        """Take the time stamps of the next frame."""
        self._pts.add(frame.pts)
        self._dts.add(frame.dts)

    @property
    def fps(self) -> float:
        """Frames a second, by what has been noted so far."""
        declared = [rate for rate in self._declared if rate and LOWEST <= rate <= HIGHEST]
        # An AVI file with B-frames has no time stamps but those of decoding, which FFmpeg hands out as both.
        stamps = self._pts if self._pts and self._pts.backwards <= self._dts.backwards else self._dts
        if stamps and self._tick:
            ticks = stamps.alternating([1 / (rate * self._tick) for rate in declared]) or stamps.typical()
            exact = [rate for rate in declared if self._is_rounded_to(ticks, rate)]
            measured = exact[0] if exact else 1 / (ticks * self._tick)
            if LOWEST <= measured <= HIGHEST:
                return float(measured)
        return float(declared[0]) if declared else DEFAULT_RATE

    def _is_rounded_to(self, ticks: Fraction, rate: Fraction) -> bool:
        """Whether a rate is the measured one but for the rounding of time stamps to whole ticks."""
        difference = abs(1 / (rate * self._tick) - ticks)
        return difference <= min(Fraction(1, 2), TOLERANCE * ticks)


class _Distances:
    """Distances between neighbouring time stamps, in ticks, each with its number: in bounded memory."""

    def __init__(self) -> None:
        self._count: Counter[int] = Counter()
        self._before: int | None = None
        self._last = 0
        self._alternations = 0  # how often a distance clearly differed from the one before
        self.backwards = 0
        """Time stamps that were not later than the one before."""

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
        """The median; where all distances near it are rounded to whole ticks, their mean."""
        median = self._median()
        mean = _mean(Counter({ticks: number for ticks, number in self._count.items() if abs(ticks - median) <= 1}))
        rounded = median >= COARSE_TICKS and abs(mean - median) <= TOLERANCE * median
        return mean if rounded else median

    def alternating(self, declared: list[Fraction]) -> Fraction | None:
        """The mean, where two distances take turns, and hold more than a quarter each; else None.

        None too where that mean is neither told nor the one of all distances.

        Args:
            told: distances by what the container tells.
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
        """The distances that are this one but for the tolerance."""
        return Counter({t: n for t, n in self._count.items() if abs(t - distance) <= TOLERANCE * distance})

    def _median(self) -> Fraction:
        ordered, total = sorted(self._count), sum(self._count.values())
        middle = [self._at(ordered, place) for place in ((total - 1) // 2, total // 2)]
        return Fraction(sum(middle), 2)

    def _at(self, ordered: list[int], place: int) -> int:
        """The distance at a place of all of them in order."""
        for ticks in ordered:
            place -= self._count[ticks]
            if place < 0:
                return ticks
        raise IndexError(place)


def _mean(count: Counter[int]) -> Fraction:
    return Fraction(sum(ticks * number for ticks, number in count.items()), max(1, sum(count.values())))


def _differ(one: int, other: int) -> bool:
    """Whether two distances are others even within the tolerance of both."""
    return abs(one - other) > 2 * TOLERANCE * max(one, other)
