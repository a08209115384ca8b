"""Writer of a clip store: videos to rows, rows to shards, and the index of a complete store.

Shapes: T frames, H height, W width, s = ``flow_downscale``.
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
    metadata: VideoMetadata,
    fps: float,
    frames_and_flow: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
    settings: PrepareConfig,
) -> dict[str, Any]:
    """Encode a video as a row of the store. Frames are consumed one by one; only compressed frames stay in memory.

    Args:
        frames_and_flow: RGB uint8 [H, W, 3] and quantized flow uint8 [H / s, W / s, 2] of each frame; H and W are
            multiples of ``settings.grid``.

    Raises:
        ValueError: there is no frame, H or W is not a multiple, or the size of a frame or its flow differs.
    """
    sizes: set[tuple[int, ...]] = set()
    flow_encoder = FlowEncoder(settings.gop_size, settings.flow_quality)
    for frame, flow in frames_and_flow:
        if not sizes:
            _check_sizes(frame, flow, settings)
            rgb_encoder = RgbEncoder(frame.shape[0], frame.shape[1], settings.gop_size, settings.rgb_crf)
        sizes.add((*frame.shape, *flow.shape))
        rgb_encoder.push(frame)
        flow_encoder.push(flow)
    if len(sizes) != 1:
        raise ValueError(f"all frames and flows must have one size; sizes given: {sorted(sizes) or 'none'}")
    ((height, width, *_),) = sizes
    packets = rgb_encoder.packets()
    properties = {"fps": fps, "frames": len(packets), "height": height, "width": width}
    return {**asdict(metadata), **properties, "rgb": packets, "flow": flow_encoder.tiles()}


def _check_sizes(frame: NDArray[np.uint8], flow: NDArray[np.uint8], settings: PrepareConfig) -> None:
    height, width = frame.shape[:2]
    if height % settings.grid or width % settings.grid:
        raise ValueError(f"frames are {height} x {width}; both sides must be multiples of {settings.grid}")
    if flow.shape[:2] != (height // settings.flow_downscale, width // settings.flow_downscale):
        raise ValueError(f"frames are {frame.shape[:2]} but their flow is {flow.shape[:2]}")


class ShardWriter:
    """Writer of one shard, row by row; only the current row is in memory."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema) -> None:
        self._writer, self._schema = writer, schema
        self.rows = 0

    def write(self, row: dict[str, Any]) -> None:
        """Append a row with the columns of the schema; in a clip store, a row of :func:`encode_video`."""
        self._writer.write_table(pa.Table.from_pylist([row], schema=self._schema))
        self.rows += 1


@contextmanager
def open_shard_writer(path: Path, schema: pa.Schema = SCHEMA) -> Iterator[ShardWriter]:
    """Open a :class:`ShardWriter`; the complete file appears at ``path`` when the block ends without an error."""
    with (
        atomic_path(path) as tmp,
        pq.ParquetWriter(tmp, schema, compression="none", use_dictionary=False, write_page_checksum=True) as writer,
    ):
        yield ShardWriter(writer, schema)


def write_index(store: Path, entries: Catalog) -> None:
    """Write ``index.parquet`` of a complete store; remove it before writing a shard again."""
    with atomic_path(store / INDEX_FILE) as tmp:
        pq.write_table(entries.table, tmp)
