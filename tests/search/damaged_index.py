"""Fuzzer that damages an index; each damage must be reported or harmless: ``python -m ... FOLDER COUNT SEED``.

It runs as a separate process, because a failure may crash it.
"""

from __future__ import annotations

import random
import struct
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tests.search.made import made_up, untrained
from vicc_ray.clip_store.schema import shard_path
from vicc_ray.errors import UserError
from vicc_ray.search.index_format import ENCODER_FILE, INDEX_FILE, VIDEOS_FILE, write_videos
from vicc_ray.search.query import index_encoder
from vicc_ray.search.ranking import median_score, query_of_row, search
from vicc_ray.search.reader import SearchIndex
from vicc_ray.search.reload import ReloadingIndex

VIDEOS, A_PART = 6, 4
NUMBERS = (0, 1, 2, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The content with one random damage."""
    data, place = bytearray(content), rng.randrange(len(content))
    kind = rng.randrange(7)
    if kind == 0:
        return bytes(data[:place])
    if kind == 1:
        data[place] ^= 1 << rng.randrange(8)
    elif kind == 2:
        data[place] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
    elif kind == 3:
        size = rng.choice((2, 4, 8))
        data[place : place + size] = struct.pack("<Q", rng.choice(NUMBERS))[:size]
    elif kind == 4:
        del data[place : place + rng.randrange(1, 9)]
    elif kind == 5:
        other = rng.randrange(len(content))
        data[place : place + 16] = data[other : other + 16]
    else:
        for _ in range(8):
            data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def use(folder: Path, current: ReloadingIndex, name: str) -> None:
    """Perform every operation of a search."""
    index = SearchIndex(folder)
    for row in range(len(index)):
        index.video(row), index.has_video(row), index.thumbnail(row)
        hits = search(index, query_of_row(index, row), 5)
        assert all(np.isfinite([hit.score, hit.start, hit.end]).all() for hit in hits)
    median_score(index, query_of_row(index, 0))
    index.rows_named("4", 3), index.row_of("4.mp4"), index.similar_ids("x")
    current.get()
    if name in (INDEX_FILE, ENCODER_FILE):
        index_encoder(index)
    if name.endswith("parquet"):
        write_videos(folder, 2, len(index.mean))


def rounds(folder: Path, count: int, seed: int) -> Iterator[tuple[str, str]]:
    """File and outcome of each damage."""
    rng = random.Random(seed)
    width = untrained().features
    features = np.random.default_rng(0).standard_normal((VIDEOS, 2, width)).astype(np.float32)
    made_up(folder, list(features), A_PART)
    for part in range(2):  # without checksums, as an attacker would write it
        path = shard_path(folder, part)
        table = pq.read_table(path)
        pq.write_table(table, path, row_group_size=1, compression="none", use_dictionary=False)
    current = ReloadingIndex(SearchIndex(folder))
    whole = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    names = (INDEX_FILE, VIDEOS_FILE, VIDEOS_FILE, shard_path(folder, 0).name, shard_path(folder, 0).name, ENCODER_FILE)
    for number in range(count):
        name = names[number % len(names)]
        (folder / name).write_bytes(damaged(whole[name], rng))
        try:
            use(folder, current, name)
            yield name, "used"
        except UserError:
            yield name, "reported"
        except Exception:  # noqa: BLE001 - the failures that this looks for
            traceback.print_exc()
            yield name, "failed"
        for other, content in whole.items():
            if other in (name, VIDEOS_FILE):
                (folder / other).unlink(missing_ok=True)  # not overwritten: it may be memory-mapped
                (folder / other).write_bytes(content)


if __name__ == "__main__":
    print(sorted(Counter(rounds(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))).items()), flush=True)
