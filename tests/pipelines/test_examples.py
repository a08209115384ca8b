"""Examples that train: a backbone defined outside the package, and a sweep defined in Python."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

from tests.pipelines.runs import settings
from vicc_ray.config.loader import dump_config

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = ["schedule.rgb_epochs=1", "schedule.flow_epochs=0", "schedule.stage1_cosine_epochs=1", "schedule.cycles=0"]
SMALL += ["clip.frames=8", "clip.size=32", "train.global_batch_size=4", "train.validate_every_epochs=0"]
SMALL += ["method.num_prototypes=4", "method.queue_size=0", "ray.cpus=2", "ray.object_store_mb=80"]


def test_backbone_plugin_is_trained_by_ray_workers(store: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "RAY_AUTH_TOKEN")}
    command = [sys.executable, str(EXAMPLES / "own_backbone.py"), str(store), str(tmp_path / "run"), *SMALL]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    read = f"from vicc_ray import load_encoder; print(load_encoder({str(tmp_path / 'run')!r}).features)"
    plugin = {**environment, "VICC_RAY_PLUGINS": "own_backbone"}
    plugin["PYTHONPATH"] = os.pathsep.join(filter(None, (str(EXAMPLES), environment.get("PYTHONPATH", ""))))
    done = subprocess.run([sys.executable, "-c", read], env=plugin, capture_output=True, text=True)
    assert done.stdout.split() == ["32"], done.stderr


def test_sweep_in_python_writes_the_best_recipe(store: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(dump_config(settings(train={"checkpoint_every_steps": 2, "validate_every_epochs": 2})))
    changes = {
        "recipe": str(recipe),
        "budget": {"trials": 1, "epochs": 2},
        "prune": {"method": "none"},
        "validation_fraction": 0.25,
        "final_eval": {"num_seeds": 0},
    }
    runpy.run_path(str(EXAMPLES / "own_sweep.py"))["main"](str(store), str(tmp_path / "sweep"), **changes)
    best = (tmp_path / "sweep" / "best.yaml").read_text()
    assert "temperature" in best and "sinkhorn_epsilon" in best
