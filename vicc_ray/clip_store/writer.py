"""Writing a clip store: videos to rows, rows to shards, and the index of a finished store.

Shapes: T frames, H height, W width, s = ``flow_scale``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicc_ray.clip_store.catalog import Catalog
from vicc_ray.clip_store.schema import INDEX_FILE, SCHEMA, VideoMetadata
from vicc_ray.config import PrepareConfig
from vicc_ray.utils.fs import atomic_path
from vicc_ray.video.codec import FlowEncoder, RgbEncoder


def encode_video(
    about: VideoMetadata,
    fps: float,
    frames_and_flow: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
    settings: PrepareConfig,
) -> dict[str, Any]:
    """A row of the store. The pairs are taken one by one, and only their compressed form is held.

    Args:
        frames_and_flow: of each frame the picture, uint8 [H, W, 3], H and W multiples of ``settings.grid``, and its
            quantised flow, uint8 [H / s, W / s, 2].

    Raises:
        ValueError: no frame, H or W is no such multiple, the flow has another size, or the size changes.
    """
    sizes: set[tuple[int, ...]] = set()
    tiles = FlowEncoder(settings.group, settings.flow_quality)
    for frame, flow in frames_and_flow:
        if not sizes:
            _check_sizes(frame, flow, settings)
            rgb = RgbEncoder(frame.shape[0], frame.shape[1], settings.group, settings.rgb_crf)
        sizes.add((*frame.shape, *flow.shape))
        rgb.push(frame)
        tiles.push(flow)
    if len(sizes) != 1:
        raise ValueError(f"frames and flow of one size are needed, those given have {sorted(sizes) or 'none'}")
    ((height, width, *_),) = sizes
    packets = rgb.packets()
    what = {"fps": fps, "frames": len(packets), "height": height, "width": width}
    return {**asdict(about), **what, "rgb": packets, "flow": tiles.tiles()}


def _check_sizes(frame: NDArray[np.uint8], flow: NDArray[np.uint8], settings: PrepareConfig) -> None:
    height, width = frame.shape[:2]
    if height % settings.grid or width % settings.grid:
        raise ValueError(f"frames are {height} x {width}, not multiples of {settings.grid}")
    if flow.shape[:2] != (height // settings.flow_scale, width // settings.flow_scale):
        raise ValueError(f"frames are {frame.shape[:2]} but their flow is {flow.shape[:2]}")


class ShardWriter:
    """Writes the rows of one shard as they come; nothing but the current row is held."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema) -> None:
        self._writer, self._schema = writer, schema
        self.rows = 0

    def write(self, row: dict[str, Any]) -> None:
        """Append a row: that of :func:`encode_video` in a clip store."""
        self._writer.write_table(pa.Table.from_pylist([row], schema=self._schema))
        self.rows += 1


@contextmanager
def open_shard_writer(path: Path, schema: pa.Schema = SCHEMA) -> Iterator[ShardWriter]:
    """A :class:`ShardWriter` whose file appears at ``path``, whole, when the block ends without an error."""
    with (
        atomic_path(path) as aside,
        pq.ParquetWriter(aside, schema, compression="none", use_dictionary=False, write_page_checksum=True) as writer,
    ):
        yield ShardWriter(writer, schema)


def write_index(store: Path, entries: Catalog) -> None:
    """Write ``index.parquet`` of a finished store; to be removed before a shard is made again."""
    with atomic_path(store / INDEX_FILE) as aside:
        pq.write_table(entries.table, aside)
