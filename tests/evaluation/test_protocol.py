"""Evaluation protocols: the published windows and crops, and settings that contradict them."""

from __future__ import annotations

import pytest

from vicc_ray.config import ClipConfig, EvaluateConfig
from vicc_ray.evaluation.protocol import center_crop_share, evaluation_crops, evaluation_windows, protocol_text
from vicc_ray.video.transforms import Crop

PUBLISHED = EvaluateConfig(protocol="published")
CLIP = ClipConfig(frames=32, short_videos="repeat_first")


def test_the_published_protocol_takes_all_windows_of_32_frames_every_15() -> None:
    assert evaluation_windows(186, CLIP, PUBLISHED)[:, 0].tolist() == list(range(0, 155, 15))
    assert len(evaluation_windows(1000, CLIP, PUBLISHED)) == 65
    (padded,) = evaluation_windows(30, CLIP, PUBLISHED)
    assert padded.tolist() == [0, 0, *range(30)]


def test_the_published_center_is_224_of_240_pixels() -> None:
    assert evaluation_crops(240, 320, 2, PUBLISHED, "retrieval") == [Crop(8, 48, 224, 224, False)]
    assert center_crop_share(PUBLISHED) == 14 / 15


def test_the_published_classification_takes_ten_crops_of_224_of_240_pixels() -> None:
    crops = evaluation_crops(240, 320, 2, PUBLISHED, "classification")
    corners = {(0, 0), (0, 96), (16, 0), (16, 96)}
    assert {(crop.top, crop.left) for crop in crops} == corners | {(8, 48)}
    assert all((crop.height, crop.width) == (224, 224) for crop in crops)
    assert [crop.flip for crop in crops] == [False] * 5 + [True] * 5
    assert [(crop.top, crop.left) for crop in crops[:5]] == [(crop.top, crop.left) for crop in crops[5:]]


def test_the_standard_protocol_is_the_same_for_retrieval_and_classification() -> None:
    for evaluate, count in ((EvaluateConfig(), 1), (EvaluateConfig(crops="ten"), 10)):
        kinds = [evaluation_crops(240, 320, 2, evaluate, purpose) for purpose in ("retrieval", "classification")]
        assert kinds[0] == kinds[1] and len(kinds[0]) == count


@pytest.mark.parametrize("change", [{"window_overlap": 0.2}, {"max_windows_per_video": 5}, {"crops": "ten"}])
def test_settings_of_the_other_protocol_are_refused(change: dict[str, object]) -> None:
    (name,) = change
    with pytest.raises(ValueError, match=rf"{name}: .* given with evaluate\.protocol published"):
        EvaluateConfig.model_validate({"protocol": "published", **change})


def test_the_text_says_which_protocol_and_how_many_windows() -> None:
    assert "published" in protocol_text(PUBLISHED, "retrieval")
    assert "ten crops" in protocol_text(PUBLISHED, "classification")
    assert "7 windows" in protocol_text(EvaluateConfig(max_windows_per_video=7), "retrieval")
