"""Bootstrap interval: it covers the true rate, shrinks with more queries, and is deterministic."""

from __future__ import annotations

import numpy as np
import pytest

from vicc_ray.evaluation.bootstrap import bootstrap_interval, hit_interval


def test_covers_the_true_rate_about_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        low, high = bootstrap_interval(rng.random(200) < 0.3, seed=trial)
        covered += low <= 0.3 <= high
    assert 0.91 <= covered / 300 <= 0.985


def test_equals_naive_resampling() -> None:
    values = np.random.default_rng(1).integers(-1, 2, size=80)
    rng = np.random.default_rng(2)
    means = [values[rng.integers(80, size=80)].mean() for _ in range(20000)]
    expected = np.percentile(means, [2.5, 97.5])
    assert bootstrap_interval(values, draws=20000) == pytest.approx(expected, abs=0.015)


def test_shrinks_with_the_root_of_the_queries() -> None:
    widths = []
    for count in (100, 400, 1600):
        low, high = bootstrap_interval(np.arange(count) % 4 == 0)
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.15)
    assert widths[1] / widths[2] == pytest.approx(2, rel=0.15)


def test_contains_the_mean_and_is_deterministic() -> None:
    values = np.arange(50) % 3 == 0
    low, high = bootstrap_interval(values, seed=3)
    assert low < values.mean() < high
    assert bootstrap_interval(values, seed=3) == (low, high)
    assert bootstrap_interval(values, seed=4) != (low, high)


def test_an_empty_sample_has_no_interval() -> None:
    assert np.isnan(bootstrap_interval([])).all()


def test_equal_hits_do_not_claim_certainty() -> None:
    low, high = hit_interval(np.ones(16, dtype=bool))
    assert high == 1 and low**16 == pytest.approx(0.025)
    assert hit_interval(np.zeros(16, dtype=bool)) == pytest.approx((1 - high, 1 - low))
    assert hit_interval(np.ones(1000, dtype=bool))[0] > 0.99
    mixed = np.arange(40) % 5 == 0
    assert hit_interval(mixed, seed=1) == bootstrap_interval(mixed, seed=1)
