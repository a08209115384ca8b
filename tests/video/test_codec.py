"""Codecs of the clip store: round trips, independent GOPs, damage."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.videos import moving
from vicc_ray.search.thumbnail import make_thumbnail
from vicc_ray.video import codec
from vicc_ray.video.codec import DamagedFrameError, decode_flow, decode_i420, encode_flow, encode_rgb
from vicc_ray.video.synthetic.generate import write_h264

FRAMES = moving(21, 48, 64)
LONG = moving(80, 64, 96)


def rgb(planes: np.ndarray) -> np.ndarray:
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_I420) for frame in planes])


@pytest.mark.parametrize("gop_size", [1, 8, 64])
def test_frames_are_decoded_in_the_requested_order(gop_size: int) -> None:
    packets = encode_rgb(FRAMES, gop_size, 18)
    assert len(packets) == len(FRAMES)
    whole = decode_i420(packets, gop_size, np.arange(21), 48, 64)
    assert 20 * np.log10(255 / np.sqrt(np.mean((rgb(whole).astype(float) - FRAMES) ** 2))) > 33
    picks = np.array([20, 3, 3, 9])
    assert np.array_equal(decode_i420(packets, gop_size, picks, 48, 64), whole[picks])


def test_a_smaller_rate_factor_is_more_accurate_and_zero_is_lossless() -> None:
    planes = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420) for frame in FRAMES])
    errors = []
    for crf in (0, 12, 30):
        back = decode_i420(encode_rgb(FRAMES, 8, crf), 8, np.arange(21), 48, 64)
        errors.append(np.abs(back.astype(int) - planes).mean())
    assert errors[0] == 0 < errors[1] < errors[2]


def test_other_gops_are_not_decoded() -> None:
    packets = encode_rgb(FRAMES, 8, 18)
    wanted = decode_i420(packets, 8, np.array([10]), 48, 64)
    only = [packet if index in (8, 9, 10) else b"" for index, packet in enumerate(packets)]
    assert np.array_equal(decode_i420(only, 8, np.array([10]), 48, 64), wanted)


def test_x264_writes_equal_bytes_with_every_instruction_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    squares = [*LONG[:, :48, :48]]

    def everything() -> list[bytes]:
        write_h264(tmp_path / "a.mp4", LONG, 25)
        return [*encode_rgb(LONG, 8, 18), make_thumbnail(squares, 25), (tmp_path / "a.mp4").read_bytes()]

    usual, parameters = everything(), codec.REPRODUCIBLE
    for instructions in ("0", "SSE2", "AVX2"):
        monkeypatch.setattr(codec, "REPRODUCIBLE", f"{parameters}:asm={instructions}")
        assert everything() == usual, instructions


@pytest.mark.parametrize("damage", [b"", b"no packet", b"\x00\x00\x00\x01\x65"])
def test_damaged_packets_are_reported(damage: bytes) -> None:
    packets = encode_rgb(FRAMES, 8, 18)
    packets[8] = damage
    with pytest.raises(DamagedFrameError):
        decode_i420(packets, 8, np.array([9]), 48, 64)
    with pytest.raises(DamagedFrameError):
        decode_i420(packets[:5], 8, np.array([6]), 48, 64)


def test_packets_of_another_size_are_reported() -> None:
    with pytest.raises(DamagedFrameError, match="48 x 64"):
        decode_i420(encode_rgb(FRAMES, 8, 18), 8, np.array([0]), 32, 64)


@pytest.mark.parametrize("gop_size", [1, 8, 64])
def test_flow_survives_compression_in_every_gop_size(gop_size: int) -> None:
    flow = np.stack([moving(21, 24, 32, seed=1)[..., 0], moving(21, 24, 32, seed=2)[..., 0]], axis=-1)
    tiles = encode_flow(flow, gop_size, 95)
    assert len(tiles) == -(-21 // gop_size)
    picks = np.array([20, 0, 13, 13])
    for index, field in zip(picks, decode_flow(tiles, gop_size, picks, 24, 32), strict=True):
        assert field.shape == (24, 64)
        assert np.abs(field.astype(int) - np.hstack([flow[index, ..., 0], flow[index, ..., 1]])).mean() < 2


def test_damaged_tiles_are_reported() -> None:
    tiles = encode_flow(np.full((10, 24, 32, 2), 128, np.uint8), 8, 95)
    for wrong in ([tiles[0], b"no"], [tiles[0]], [tiles[0], tiles[1][:40]]):
        with pytest.raises(DamagedFrameError):
            decode_flow(wrong, 8, np.array([9]), 24, 32)
    with pytest.raises(DamagedFrameError, match="group 0"):
        decode_flow([tiles[1]], 8, np.array([5]), 24, 32)
