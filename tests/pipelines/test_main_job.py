"""The main job: what cannot be is told before anything is decoded."""

from __future__ import annotations

from pathlib import Path

import pytest

from vicc_ray.errors import UserError
from vicc_ray.pipelines.main_job import main_job
from vicc_ray.recipe import load_config


def test_a_batch_above_the_number_of_training_videos_is_told_before_preparing(tmp_path: Path) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    for label in ("rise", "fall"):
        (videos / label).mkdir(parents=True)
        for n in range(10):
            (videos / label / f"{n}.mp4").write_bytes(b"never decoded")
    config = load_config("demo", ["train.batch=17", "evaluate.test_share=0.2"])
    with pytest.raises(UserError) as told:
        main_job(config, videos, out, progress=False)
    assert "train.batch" in str(told.value) and "17" in str(told.value) and "16" in str(told.value)
    assert not out.exists()
