"""Nearest neighbours: equal to sorting all similarities, whatever the tiles, blocks and groups."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vicc_ray.evaluation import knn as module
from vicc_ray.evaluation.knn import Exclusion, NormalizedFeatures, codes, nearest


def by_hand(queries: NormalizedFeatures, gallery: NormalizedFeatures) -> torch.Tensor:
    return queries.rows(0, len(queries)) @ gallery.rows(0, len(gallery)).T


@pytest.mark.parametrize(("tile", "block", "group"), [(7, 3, 2), (64, 8, 8), (100, 100, 64), (16384, 1024, 64)])
@pytest.mark.parametrize("k", [1, 5, 50, 1000])
def test_equals_sorting_them_all(monkeypatch: pytest.MonkeyPatch, tile: int, block: int, group: int, k: int) -> None:
    for name, value in {"TILE": tile, "BLOCK": block, "GROUP": group}.items():
        monkeypatch.setattr(module, name, value)
    rng = np.random.default_rng(0)
    gallery, queries = (NormalizedFeatures(rng.normal(size=(count, 6)).astype(np.float32)) for count in (333, 29))
    values, rows = nearest(queries.rows(0, 29), gallery, k)
    expected = by_hand(queries, gallery).topk(min(k, 333))
    torch.testing.assert_close(values, expected.values)
    assert torch.equal(rows, expected.indices)


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_any_number_of_cores_finds_the_same_and_is_left_as_it_was(cores: int) -> None:
    rng = np.random.default_rng(0)
    gallery, queries = (NormalizedFeatures(rng.normal(size=(count, 6)).astype(np.float32)) for count in (333, 29))
    before = torch.get_num_threads()
    torch.set_num_threads(cores)
    try:
        values, rows = nearest(queries.rows(0, 29), gallery, 5)
        assert torch.get_num_threads() == cores
    finally:
        torch.set_num_threads(before)
    expected = by_hand(queries, gallery).topk(5)
    torch.testing.assert_close(values, expected.values)
    assert torch.equal(rows, expected.indices)


def test_rows_in_an_order_that_gets_better_are_all_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tile beats all that came before it: nothing may be left out by what was the best so far."""
    monkeypatch.setattr(module, "TILE", 16)
    monkeypatch.setattr(module, "GROUP", 4)
    angle = np.linspace(np.pi, 0, 200)
    features = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)
    gallery = NormalizedFeatures(np.concatenate([features, -features]))  # mean zero
    _, rows = nearest(torch.tensor([[1.0, 0.0]]), gallery, 10)
    assert sorted(rows[0].tolist()) == [*range(195, 200), *range(200, 205)]


def test_excluded_pairs_are_no_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TILE", 10)
    rng = np.random.default_rng(1)
    gallery, queries = (NormalizedFeatures(rng.normal(size=(count, 4)).astype(np.float32)) for count in (40, 6))
    theirs, own = torch.arange(40) % 4, torch.tensor([0, 1, 2, 3, -2, -2])
    values, rows = nearest(queries.rows(0, 6), gallery, 35, Exclusion(own, theirs))
    for q in range(4):
        found = rows[q][rows[q] >= 0]
        assert len(found) == 30 and not (theirs[found] == own[q]).any()
        assert (rows[q, 30:] == -1).all() and (values[q, 30:] == -torch.inf).all()
    assert (rows[4:] >= 0).all()


def test_streams_side_by_side_add_their_similarities() -> None:
    rng = np.random.default_rng(2)
    rgb, flow = rng.normal(size=(20, 5)).astype(np.float32), rng.normal(size=(20, 3)).astype(np.float32)
    both = NormalizedFeatures(rgb, flow).rows(0, 20)
    apart = [NormalizedFeatures(features).rows(0, 20) for features in (rgb, flow)]
    torch.testing.assert_close(both @ both.T, sum(rows @ rows.T for rows in apart))


def test_the_empty_name_is_nobodys() -> None:
    first, second = codes((np.array(["a", "", "b"]), np.array(["b", "", "c"])), (-1, -2))
    assert first[2] == second[0] and first[0] != first[2]
    assert (first[1], second[1]) == (-1, -2)


def test_a_gallery_on_the_disk_is_not_read_into_the_memory(tmp_path: Path) -> None:
    """256 MiB as float32, in a process that may take 128 MiB more than it took for the first eighth of it."""
    features = np.lib.format.open_memmap(tmp_path / "gallery.npy", "w+", np.float16, (2**18, 256))
    features[::1024] = np.random.default_rng(0).normal(size=(256, 256))
    features.flush()
    script = f"""
import resource, numpy as np
from vicc_ray.evaluation.knn import NormalizedFeatures, nearest
features = np.load({str(tmp_path / "gallery.npy")!r}, mmap_mode="r")
for rows in (2**15, 2**18):
    gallery = NormalizedFeatures(features[:rows])
    assert nearest(gallery.rows(4096, 4097), gallery, 1)[1].tolist() == [[4096]]
    data = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (data * 1024 + 2**27, resource.RLIM_INFINITY))
"""
    subprocess.run([sys.executable, "-c", script], check=True)
