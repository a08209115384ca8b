"""Nearest neighbors: equal to sorting all similarities, in memory and streamed, whatever the tiles and blocks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vicc_ray.evaluation import knn, streaming_knn
from vicc_ray.evaluation.exclusion import Exclusion, factorize
from vicc_ray.evaluation.knn import nearest
from vicc_ray.evaluation.normalized_features import NormalizedFeatures


@pytest.fixture(params=["in memory", "streamed"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way to search, whatever the size of the gallery."""
    monkeypatch.setattr(knn, "IN_MEMORY_BYTES", 0 if request.param == "streamed" else 2**40)


def random_features(*counts: int, width: int = 6, seed: int = 0) -> list[NormalizedFeatures]:
    rng = np.random.default_rng(seed)
    return [NormalizedFeatures(rng.normal(size=(count, width)).astype(np.float32)) for count in counts]


def all_similarities(queries: NormalizedFeatures, gallery: NormalizedFeatures) -> torch.Tensor:
    return queries.rows(0, len(queries)) @ gallery.rows(0, len(gallery)).T


@pytest.mark.parametrize("k", [1, 5, 50, 1000])
@pytest.mark.parametrize("block", [3, 8, 29, 1024])
def test_search_in_memory_equals_sorting_all_similarities(monkeypatch: pytest.MonkeyPatch, block: int, k: int) -> None:
    monkeypatch.setattr(knn, "BLOCK_QUERIES", block)
    gallery, queries = random_features(333, 29)
    values, rows = nearest(queries.rows(0, 29), gallery, k)
    expected = all_similarities(queries, gallery).topk(min(k, 333))
    torch.testing.assert_close(values, expected.values)
    assert torch.equal(rows, expected.indices)


@pytest.mark.parametrize(("tile", "block", "group"), [(7, 3, 2), (64, 8, 8), (100, 100, 64), (16384, 1024, 64)])
@pytest.mark.parametrize("k", [1, 5, 50, 1000])
def test_streamed_search_equals_sorting_all_similarities(
    monkeypatch: pytest.MonkeyPatch, tile: int, block: int, group: int, k: int
) -> None:
    monkeypatch.setattr(knn, "IN_MEMORY_BYTES", 0)
    for name, value in {"TILE_ROWS": tile, "BLOCK_QUERIES": block, "GROUP_ROWS": group}.items():
        monkeypatch.setattr(streaming_knn, name, value)
    gallery, queries = random_features(333, 29)
    values, rows = nearest(queries.rows(0, 29), gallery, k)
    expected = all_similarities(queries, gallery).topk(min(k, 333))
    torch.testing.assert_close(values, expected.values)
    assert torch.equal(rows, expected.indices)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("excluded", [False, True])
@pytest.mark.parametrize(("k", "tile"), [(1, 64), (7, 64), (40, 64), (300, 64), (7, 8192)])
def test_ties_are_broken_by_the_lower_row(monkeypatch: pytest.MonkeyPatch, k: int, tile: int, excluded: bool) -> None:
    """Few distinct directions, so that most rows share their similarity with others, within and across tiles."""
    monkeypatch.setattr(streaming_knn, "TILE_ROWS", tile)
    rng = np.random.default_rng(4)
    corners = rng.permutation(np.tile(np.eye(4, dtype=np.float32), (75, 1)))
    gallery = NormalizedFeatures(np.concatenate([corners, -corners]))  # mean zero: products are exactly 0, 1 or -1
    queries = torch.eye(4)
    numbers, own = torch.from_numpy(rng.integers(0, 5, 600)), torch.tensor([0, 1, 2, -2])
    similarity = queries @ gallery.rows(0, 600).T
    if excluded:
        similarity[own[:, None] == numbers[None]] = -torch.inf
    expected = similarity.sort(dim=1, descending=True, stable=True)
    values, rows = nearest(queries, gallery, k, Exclusion(own, numbers) if excluded else None)
    assert torch.equal(values, expected.values[:, :k])
    assert torch.equal(rows, expected.indices[:, :k])


def test_in_memory_and_streamed_search_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, queries = random_features(700, 40)
    exclusion = Exclusion(torch.arange(40) % 9, torch.arange(700) % 9)
    results = []
    for limit in (0, 2**40):
        monkeypatch.setattr(knn, "IN_MEMORY_BYTES", limit)
        results.append(nearest(queries.rows(0, 40), gallery, 650, exclusion))
    torch.testing.assert_close(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("cores", [1, 2, 3])
def test_the_number_of_threads_does_not_change_the_neighbors_and_is_restored(cores: int) -> None:
    gallery, queries = random_features(333, 29)
    before = torch.get_num_threads()
    torch.set_num_threads(cores)
    try:
        values, rows = nearest(queries.rows(0, 29), gallery, 5)
        assert torch.get_num_threads() == cores
    finally:
        torch.set_num_threads(before)
    expected = all_similarities(queries, gallery).topk(5)
    torch.testing.assert_close(values, expected.values)
    assert torch.equal(rows, expected.indices)


def test_rows_in_order_of_increasing_similarity_are_all_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tile beats all that came before it: nothing may be left out by what was the best so far."""
    monkeypatch.setattr(knn, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(streaming_knn, "TILE_ROWS", 16)
    monkeypatch.setattr(streaming_knn, "GROUP_ROWS", 4)
    angle = np.linspace(np.pi, 0, 200)
    features = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)
    gallery = NormalizedFeatures(np.concatenate([features, -features]))  # mean zero
    _, rows = nearest(torch.tensor([[1.0, 0.0]]), gallery, 10)
    assert sorted(rows[0].tolist()) == [*range(195, 200), *range(200, 205)]


@pytest.mark.usefixtures("path")
def test_excluded_pairs_are_not_neighbors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming_knn, "TILE_ROWS", 10)
    gallery, queries = random_features(40, 6, width=4, seed=1)
    theirs, own = torch.arange(40) % 4, torch.tensor([0, 1, 2, 3, -2, -2])
    values, rows = nearest(queries.rows(0, 6), gallery, 35, Exclusion(own, theirs))
    for q in range(4):
        neighbors = rows[q][rows[q] >= 0]
        assert len(neighbors) == 30 and not (theirs[neighbors] == own[q]).any()
        assert (rows[q, 30:] == -1).all() and (values[q, 30:] == -torch.inf).all()
    assert (rows[4:] >= 0).all()


def test_concatenated_streams_add_their_similarities() -> None:
    rng = np.random.default_rng(2)
    rgb, flow = rng.normal(size=(20, 5)).astype(np.float32), rng.normal(size=(20, 3)).astype(np.float32)
    both = NormalizedFeatures(rgb, flow).rows(0, 20)
    apart = [NormalizedFeatures(features).rows(0, 20) for features in (rgb, flow)]
    torch.testing.assert_close(both @ both.T, sum(rows @ rows.T for rows in apart))


def test_an_empty_source_equals_no_source() -> None:
    first, second = factorize((np.array(["a", "", "b"]), np.array(["b", "", "c"])), (-1, -2))
    assert first[2] == second[0] and first[0] != first[2]
    assert (first[1], second[1]) == (-1, -2)


@pytest.mark.slow
def test_a_gallery_on_disk_is_not_read_into_memory(tmp_path: Path) -> None:
    """256 MiB as float32, in a process whose memory may grow by 128 MiB over that of the first eighth."""
    features = np.lib.format.open_memmap(tmp_path / "gallery.npy", "w+", np.float16, (2**18, 256))
    features[::1024] = np.random.default_rng(0).normal(size=(256, 256))
    features.flush()
    script = f"""
import resource, numpy as np
from vicc_ray.evaluation.knn import nearest
from vicc_ray.evaluation.normalized_features import NormalizedFeatures
features = np.load({str(tmp_path / "gallery.npy")!r}, mmap_mode="r")
for rows in (2**15, 2**18):
    gallery = NormalizedFeatures(features[:rows])
    assert nearest(gallery.rows(4096, 4097), gallery, 1)[1].tolist() == [[4096]]
    data = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (data * 1024 + 2**27, resource.RLIM_INFINITY))
"""
    subprocess.run([sys.executable, "-c", script], check=True)
