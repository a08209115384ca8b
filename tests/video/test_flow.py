from __future__ import annotations

import numpy as np
import pytest

from tests.videos import moving
from vicc_ray.video.flow import METHODS, compute_flow, dequantize, frames_with_flow, quantize

VELOCITIES = [(3, 0), (-2, 0), (0, 2), (2, -1)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("velocity", VELOCITIES)
def test_flow_of_a_translation_has_its_sign_and_size(method: str, velocity: tuple[int, int]) -> None:
    flow = compute_flow(moving(3, 48, 64, velocity), method)
    assert flow.shape == (3, 48, 64, 2)
    assert flow.dtype == np.float32
    inner = flow[:, 8:-8, 8:-8].reshape(-1, 2)
    assert np.median(inner, axis=0) == pytest.approx(velocity, abs=0.1)
    assert np.linalg.norm(inner - velocity, axis=1).mean() < 0.25


@pytest.mark.parametrize("method", METHODS)
def test_flow_of_a_static_image_is_zero(method: str) -> None:
    flow = compute_flow(moving(2, 32, 32, (0, 0)), method)
    assert np.abs(flow).mean() < 0.01


def test_entry_t_is_the_motion_from_t_to_the_next_and_the_last_repeats() -> None:
    right, left = moving(2, 48, 48, (2, 0)), moving(2, 48, 48, (-1, 0))
    still = np.concatenate([moving(2, 48, 48, (0, 0)), right, left])
    flow = np.median(compute_flow(still, "dis"), axis=(1, 2))
    assert flow[0] == pytest.approx([0, 0], abs=0.05)
    assert flow[2] == pytest.approx([2, 0], abs=0.1)
    assert flow[4] == pytest.approx([-1, 0], abs=0.1)
    assert np.array_equal(flow[5], flow[4])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(16, 16), (16, 61), (17, 23)])
def test_frames_of_the_smallest_side_have_flow(method: str, shape: tuple[int, int]) -> None:
    assert np.isfinite(compute_flow(moving(2, *shape, (1, 0)), method)).all()


def test_frames_are_yielded_with_their_flow_as_soon_as_it_is_computed() -> None:
    frames, asked = moving(4, 32, 40), []
    pairs = frames_with_flow((asked.append(t) or frame for t, frame in enumerate(frames)), "dis")
    expected = compute_flow(frames, "dis")
    for t, (frame, flow) in enumerate(pairs):
        assert np.array_equal(frame, frames[t])
        assert np.array_equal(flow, expected[t])
        assert asked == list(range(min(t + 2, 4)))
    assert t == 3


@pytest.mark.parametrize(
    ("frames", "method", "word"),
    [((1, 32, 32, 3), "dis", "two"), ((2, 32, 32, 3), "raft", "dis, tvl1"), ((2, 8, 32, 3), "dis", "16 pixels")],
)
def test_invalid_frames_and_methods_are_refused(frames: tuple[int, ...], method: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        compute_flow(np.zeros(frames, np.uint8), method)


def test_quantization_is_exact_at_zero_symmetric_and_clips() -> None:
    values = np.array([0, 20, -20, 90, -90, 20 / 127, 0.02], np.float32)
    assert quantize(values, 20.0).tolist() == [128, 255, 1, 255, 1, 129, 128]
    assert dequantize(quantize(values[:1], 20.0), 20.0)[0] == 0


@pytest.mark.parametrize("bound", [4.0, 20.0])
def test_the_quantization_error_is_at_most_half_a_step(bound: float) -> None:
    flow = np.random.default_rng(0).uniform(-bound, bound, (50, 50, 2)).astype(np.float32)
    assert np.abs(dequantize(quantize(flow, bound), bound) - flow).max() <= bound / 254 + 1e-5
