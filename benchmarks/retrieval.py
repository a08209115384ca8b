"""Nearest neighbors in a gallery of a million videos: the streaming search compared with FAISS's exact search.

    pip install -e '.[bench]'
    python benchmarks/retrieval.py OUT     # writes benchmarks/retrieval.json

The gallery is a float16 file of 1,000,000 x 1,024 with 10,000 queries, in clusters that share most of their features,
as videos do. The streaming search reads the file tile by tile, centers it, scales it to unit norm and searches. FAISS
(IndexFlatIP) gets the normalized rows in memory, and only its search is timed. Both alternate on the same cores, each
in a separate process, whose peak memory is recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from measured import machine

from vicc_ray.evaluation.knn import nearest
from vicc_ray.evaluation.normalized_features import NormalizedFeatures

RESULT = Path(__file__).with_suffix(".json")
K = 50
CORES = os.cpu_count() or 1


def main() -> None:
    """Write the gallery, measure both sides alternately, and compare their neighbors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--gallery", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=("streaming", "faiss"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(CORES)
    if options.side:
        measure(options.out, options.side)
        return
    write_features(options)
    rounds: dict[str, list[dict[str, float]]] = {"streaming": [], "faiss": []}
    for _ in range(options.rounds):
        for side in rounds:
            command = [sys.executable, __file__, str(options.out), "--side", side]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            rounds[side].append(json.loads(output))
            print(side, output, flush=True)
    neighbors = {side: np.load(options.out / f"{side}.npy") for side in rounds}
    result = {
        **{"machine": machine(), "gallery": options.gallery, "queries": options.queries, "features": options.features},
        "k": K,
        "seconds": {side: [one["seconds"] for one in measured] for side, measured in rounds.items()},
        "ratio": round(median(b["seconds"] / a["seconds"] for a, b in zip(*rounds.values(), strict=True)), 3),
        "peak_mib": {side: max(one["peak_mib"] for one in measured) for side, measured in rounds.items()},
        "same_first": round(float((neighbors["streaming"][:, 0] == neighbors["faiss"][:, 0]).mean()), 5),
        "same_of_all": round(
            float(np.mean([len({*a} & {*b}) / K for a, b in zip(*neighbors.values(), strict=True)])), 5
        ),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(RESULT.read_text())


def write_features(options: argparse.Namespace) -> None:
    """Write gallery and queries as float16 files."""
    options.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    common = rng.normal(size=options.features)
    classes = rng.normal(size=(400, options.features)).astype(np.float32)
    for name, count in (("gallery", options.gallery), ("queries", options.queries)):
        path = options.out / f"{name}.npy"
        rows = np.lib.format.open_memmap(path, "w+", np.float16, (count, options.features))
        for start in range(0, count, 10_000):
            part = rng.normal(size=(min(10_000, count - start), options.features)).astype(np.float32)
            rows[start : start + len(part)] = part + classes[rng.integers(400, size=len(part))] + common
        rows.flush()


def measure(out: Path, side: str) -> None:
    """Run one side in this process; print its seconds and peak memory (without pages of the file)."""
    gallery = NormalizedFeatures(np.load(out / "gallery.npy", mmap_mode="r"))
    query_rows = np.load(out / "queries.npy", mmap_mode="r")
    queries = NormalizedFeatures(query_rows).rows(0, len(query_rows))
    if side == "streaming":
        start_time = time.perf_counter()
        rows = nearest(queries, gallery, K)[1].numpy()
        seconds = time.perf_counter() - start_time
    else:
        import faiss

        faiss.omp_set_num_threads(CORES)
        index = faiss.IndexFlatIP(queries.shape[1])
        for start in range(0, len(gallery), 50_000):
            index.add(gallery.rows(start, min(start + 50_000, len(gallery))).numpy())
        start_time = time.perf_counter()
        rows = index.search(queries.numpy(), K)[1]
        seconds = time.perf_counter() - start_time
    np.save(out / f"{side}.npy", rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": round(seconds, 1), "peak_mib": round(peak)}))


if __name__ == "__main__":
    main()
