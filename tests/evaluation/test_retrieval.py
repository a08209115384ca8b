"""Retrieval equals a naive loop, and has the properties it must have."""

from __future__ import annotations

import numpy as np
import pytest

from vicc_ray.evaluation.retrieval import FeatureSet, chance_level, retrieve, retrieve_two_streams


def make_set(count: int, classes: int, seed: int, sources: int = 7, width: int = 6, prefix: str = "v") -> FeatureSet:
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    features = rng.normal(size=(count, width)) + np.eye(classes, width)[labels]
    return FeatureSet(
        features,
        labels.astype(str),
        rng.integers(sources, size=count).astype(str),
        np.array([f"{prefix}{i}" for i in range(count)]),
    )


def naive_neighbors(train: FeatureSet, test: FeatureSet, ignore: bool) -> list[list[int]]:
    gallery = train.features.astype(np.float64) - train.features.astype(np.float64).mean(0)
    queries = test.features.astype(np.float64) - test.features.astype(np.float64).mean(0)
    orders = []
    for q, query in enumerate(queries):
        scored = []
        for g, item in enumerate(gallery):
            if ignore and train.sources[g] == test.sources[q] != "":
                continue
            scored.append((-(query @ item) / np.linalg.norm(query) / np.linalg.norm(item), g))
        orders.append([g for _, g in sorted(scored)])
    return orders


@pytest.mark.parametrize("ignore", [False, True])
def test_equals_a_naive_loop(ignore: bool) -> None:
    train, test = make_set(60, 4, 0), make_set(23, 4, 1)
    result = retrieve(train, test, exclude_same_source=ignore)
    orders = naive_neighbors(train, test, ignore)
    assert result.neighbors.tolist() == [order[:5] for order in orders]
    for k in (1, 5, 10, 20, 50):
        hits = [test.labels[q] in train.labels[order[:k]] for q, order in enumerate(orders)]
        informative = k <= min(
            len(order) - sum(train.labels[order] == test.labels[q]) for q, order in enumerate(orders)
        )
        assert result.recall[k] == (pytest.approx(np.mean(hits)) if informative else pytest.approx(np.nan, nan_ok=True))
    assert result.hits.mean() == pytest.approx(result.recall[1])
    assert result.queries == 23


def test_train_and_test_are_each_centered_on_their_own_mean() -> None:
    train, test = make_set(40, 4, 2), make_set(20, 4, 3)
    shifted_train = FeatureSet(train.features + 30, train.labels, train.sources, train.ids)
    shifted_test = FeatureSet(test.features - 11, test.labels, test.sources, test.ids)
    assert np.array_equal(retrieve(shifted_train, shifted_test).neighbors, retrieve(train, test).neighbors)


def test_the_norm_of_a_centered_feature_does_not_matter() -> None:
    train, test = make_set(40, 4, 2), make_set(20, 4, 3)
    mean = train.features.mean(0)
    scale = np.random.default_rng(0).uniform(0.5, 2, size=(20, 1)).astype(np.float32)
    pairs = (train.features - mean)[:20] * scale  # every feature with its mirror image, so that the mean stays at zero
    long = FeatureSet(np.concatenate([pairs, -pairs]), train.labels, train.sources, train.ids)
    even = FeatureSet(np.concatenate([pairs / scale, -pairs / scale]), train.labels, train.sources, train.ids)
    assert np.array_equal(retrieve(long, test).neighbors, retrieve(even, test).neighbors)


def test_no_neighbor_has_the_querys_source_when_ignored() -> None:
    train, test = make_set(60, 3, 4, sources=4), make_set(30, 3, 5, sources=4)
    result = retrieve(train, test, exclude_same_source=True)
    assert not (train.sources[result.neighbors] == test.sources[:, None]).any()
    assert (train.sources[retrieve(train, test).neighbors] == test.sources[:, None]).any()


def test_unknown_sources_exclude_nothing() -> None:
    train, test = make_set(30, 3, 4), make_set(10, 3, 5)
    train = FeatureSet(train.features, train.labels, np.full(30, ""), train.ids)
    test = FeatureSet(test.features, test.labels, np.full(10, ""), test.ids)
    assert np.array_equal(retrieve(train, test, exclude_same_source=True).neighbors, retrieve(train, test).neighbors)


def test_a_query_without_candidates_is_a_miss() -> None:
    train = FeatureSet(np.eye(3, 4), ["a"] * 3, ["film"] * 3, ["t0", "t1", "t2"])
    test = FeatureSet(np.eye(2, 4), ["a", "a"], ["film", "other"], ["q0", "q1"])
    result = retrieve(train, test, exclude_same_source=True)
    assert result.hits.tolist() == [False, True]
    assert result.neighbors[0].tolist() == [-1] * 5
    assert sorted(result.neighbors[1].tolist()) == [-1, -1, 0, 1, 2]
    assert result.chance == 0.5 and np.isnan(result.recall[1])


def test_two_streams_sum_their_similarities() -> None:
    rng = np.random.default_rng(6)
    train_rgb, test_rgb = make_set(50, 4, 6), make_set(20, 4, 7)
    train_flow = FeatureSet(rng.normal(size=(50, 3)), train_rgb.labels, train_rgb.sources, train_rgb.ids)
    test_flow = FeatureSet(rng.normal(size=(20, 3)), test_rgb.labels, test_rgb.sources, test_rgb.ids)
    total = np.zeros((20, 50))
    for train, test in ((train_rgb, test_rgb), (train_flow, test_flow)):
        gallery, queries = train.features - train.features.mean(0), test.features - test.features.mean(0)
        cosine = queries @ gallery.T
        total += cosine / np.linalg.norm(queries, axis=1)[:, None] / np.linalg.norm(gallery, axis=1)
    result = retrieve_two_streams(train_rgb, test_rgb, train_flow, test_flow)
    assert np.array_equal(result.neighbors, np.argsort(-total, axis=1)[:, :5])
    assert np.array_equal(
        retrieve_two_streams(train_rgb, test_rgb, train_rgb, test_rgb).neighbors,
        retrieve(train_rgb, test_rgb).neighbors,
    )


def test_two_streams_must_have_the_same_videos() -> None:
    train, test = make_set(20, 2, 0), make_set(10, 2, 1)
    other = FeatureSet(train.features, train.labels, train.sources, train.ids[::-1])
    with pytest.raises(ValueError, match="same videos"):
        retrieve_two_streams(train, test, other, test)


def test_chance_is_what_random_neighbors_reach() -> None:
    train, test = make_set(90, 3, 8), make_set(40, 3, 9)
    rng = np.random.default_rng(0)
    for ignore in (False, True):
        reached = []
        for label, source in zip(test.labels, test.sources, strict=True):
            candidates = np.flatnonzero(~(ignore & (train.sources == source)))
            reached.append((train.labels[rng.choice(candidates, 3000)] == label).mean())
        assert chance_level(train, test, ignore) == pytest.approx(np.mean(reached), abs=0.01)


def test_random_features_stay_at_chance() -> None:
    rng = np.random.default_rng(10)
    train, test = make_set(400, 5, 10), make_set(400, 5, 11)
    train = FeatureSet(rng.normal(size=(400, 16)), train.labels, train.sources, train.ids)
    test = FeatureSet(rng.normal(size=(400, 16)), test.labels, test.sources, test.ids)
    result = retrieve(train, test)
    assert result.interval[0] <= result.chance <= result.interval[1]


def test_unlabeled_queries_are_not_scored() -> None:
    train, test = make_set(40, 3, 12), make_set(20, 3, 13)
    labels = test.labels.copy()
    labels[:8] = ""
    partly = FeatureSet(test.features, labels, test.sources, test.ids)
    result, full = retrieve(train, partly), retrieve(train, test)
    assert result.queries == 12
    assert result.recall[1] == pytest.approx(full.hits[8:].mean())
    assert np.array_equal(result.neighbors, full.neighbors)
    assert not result.hits[:8].any()
    assert len(partly.labeled()) == 12


def test_constant_features_give_a_result_and_no_nan() -> None:
    train, test = make_set(12, 3, 14), make_set(6, 3, 15)
    result = retrieve(
        FeatureSet(np.ones((12, 4)), train.labels, train.sources, train.ids),
        FeatureSet(np.ones((6, 4)), test.labels, test.sources, test.ids),
    )
    assert 0 <= result.recall[1] <= 1 and (result.neighbors >= 0).all()


def test_empty_sets_are_rejected() -> None:
    full = make_set(5, 2, 0)
    with pytest.raises(ValueError, match="5 and 0"):
        retrieve(full, full.select(np.zeros(5, dtype=bool)))
