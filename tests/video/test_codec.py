"""Frames to bytes and back: every group by itself, nothing decoded that is not needed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.videos import moving
from vicc_ray.search.thumbnail import make_film
from vicc_ray.video import codec
from vicc_ray.video.codec import DamagedFrameError, decode_flow, decode_i420, encode_flow, encode_rgb
from vicc_ray.video.synthetic.generate import write_h264

FRAMES = moving(21, 48, 64)
LONG = moving(80, 64, 96)


def rgb(planes: np.ndarray) -> np.ndarray:
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_I420) for frame in planes])


@pytest.mark.parametrize("group", [1, 8, 64])
def test_frames_come_back_in_the_order_asked_for(group: int) -> None:
    packets = encode_rgb(FRAMES, group, 18)
    assert len(packets) == len(FRAMES)
    whole = decode_i420(packets, group, np.arange(21), 48, 64)
    assert 20 * np.log10(255 / np.sqrt(np.mean((rgb(whole).astype(float) - FRAMES) ** 2))) > 33
    picks = np.array([20, 3, 3, 9])
    assert np.array_equal(decode_i420(packets, group, picks, 48, 64), whole[picks])


def test_a_smaller_rate_factor_is_nearer_and_zero_is_exact() -> None:
    planes = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420) for frame in FRAMES])
    errors = []
    for crf in (0, 12, 30):
        back = decode_i420(encode_rgb(FRAMES, 8, crf), 8, np.arange(21), 48, 64)
        errors.append(np.abs(back.astype(int) - planes).mean())
    assert errors[0] == 0 < errors[1] < errors[2]


def test_other_groups_are_not_touched() -> None:
    packets = encode_rgb(FRAMES, 8, 18)
    wanted = decode_i420(packets, 8, np.array([10]), 48, 64)
    only = [packet if index in (8, 9, 10) else b"" for index, packet in enumerate(packets)]
    assert np.array_equal(decode_i420(only, 8, np.array([10]), 48, 64), wanted)


def test_x264_makes_the_same_bytes_with_and_without_the_instructions_of_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    squares = [*LONG[:, :48, :48]]

    def everything() -> list[bytes]:
        write_h264(tmp_path / "a.mp4", LONG, 25)
        return [*encode_rgb(LONG, 8, 18), make_film(squares, 25), (tmp_path / "a.mp4").read_bytes()]

    usual, parameters = everything(), codec.REPRODUCIBLE
    for instructions in ("0", "SSE2", "AVX2"):
        monkeypatch.setattr(codec, "REPRODUCIBLE", f"{parameters}:asm={instructions}")
        assert everything() == usual, instructions


@pytest.mark.parametrize("damage", [b"", b"no packet", b"\x00\x00\x00\x01\x65"])
def test_damaged_packets_are_told(damage: bytes) -> None:
    packets = encode_rgb(FRAMES, 8, 18)
    packets[8] = damage
    with pytest.raises(DamagedFrameError):
        decode_i420(packets, 8, np.array([9]), 48, 64)
    with pytest.raises(DamagedFrameError):
        decode_i420(packets[:5], 8, np.array([6]), 48, 64)


def test_packets_of_another_size_are_told() -> None:
    with pytest.raises(DamagedFrameError, match="48 x 64"):
        decode_i420(encode_rgb(FRAMES, 8, 18), 8, np.array([0]), 32, 64)


@pytest.mark.parametrize("group", [1, 8, 64])
def test_flow_comes_back_with_its_components(group: int) -> None:
    flow = np.stack([moving(21, 24, 32, seed=1)[..., 0], moving(21, 24, 32, seed=2)[..., 0]], axis=-1)
    tiles = encode_flow(flow, group, 95)
    assert len(tiles) == -(-21 // group)
    picks = np.array([20, 0, 13, 13])
    for index, field in zip(picks, decode_flow(tiles, group, picks, 24, 32), strict=True):
        assert field.shape == (24, 64)
        assert np.abs(field.astype(int) - np.hstack([flow[index, ..., 0], flow[index, ..., 1]])).mean() < 2


def test_damaged_tiles_are_told() -> None:
    tiles = encode_flow(np.full((10, 24, 32, 2), 128, np.uint8), 8, 95)
    for wrong in ([tiles[0], b"no"], [tiles[0]], [tiles[0], tiles[1][:40]]):
        with pytest.raises(DamagedFrameError):
            decode_flow(wrong, 8, np.array([9]), 24, 32)
    with pytest.raises(DamagedFrameError, match="short"):
        decode_flow([tiles[1]], 8, np.array([5]), 24, 32)
