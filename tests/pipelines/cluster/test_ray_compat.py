"""Ray versions without an internal name: commands still run, and a local session stays on loopback."""

from __future__ import annotations

import ast
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import ray
from ray.util.placement_group import placement_group, remove_placement_group

import vicc_ray
from tests.pipelines.runs import rgb_only
from vicc_ray.config.loader import dump_config
from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster import ray_compat
from vicc_ray.pipelines.cluster.capacity import cluster_capacity, has_free
from vicc_ray.pipelines.cluster.loopback_session import session_token
from vicc_ray.pipelines.cluster.orphans import remove_orphaned_placement_groups
from vicc_ray.pipelines.cluster.ray_compat import loopback_only
from vicc_ray.runs.run_dir import RunDir

GCS, STATE, CONSTANTS, KV = (
    "ray.core.generated.gcs_pb2",
    "ray._private.state",
    "ray._private.ray_constants",
    "ray.experimental.internal_kv",
)
CONTROLLER = "ray.train.v2._internal.execution.controller"


def lacks(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """Replace a module with an empty one for later imports; Ray itself has imported it already."""
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    monkeypatch.setattr(ray_compat, "_warned", set())


@pytest.mark.parametrize(
    ("module", "call"),
    [
        (GCS, remove_orphaned_placement_groups),
        (STATE, remove_orphaned_placement_groups),
        (STATE, lambda: has_free({"CPU": 0.001})),
        (STATE, lambda: ray_compat.actor_info("ab" * 16)),
        (STATE, ray_compat.autoscaler_groups),
        (CONTROLLER, ray_compat.controller_class_name),
        (CONSTANTS, cluster_capacity),
        (KV, cluster_capacity),
    ],
)
def test_missing_internal_name_gives_one_warning_with_the_version(
    module: str, call: Callable[[], object], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = call()
    lacks(monkeypatch, module)
    with caplog.at_level(logging.WARNING, "vicc_ray"):
        assert [call(), call()] == [expected, expected] or "actor_info" in str(call)
    assert len(caplog.records) == 1
    assert ray.__version__ in caplog.text and "pyproject.toml" in caplog.text


def test_placement_groups_are_listed_without_creators_by_the_public_api(monkeypatch: pytest.MonkeyPatch) -> None:
    group = placement_group([{"CPU": 0.001}])
    try:
        ray.get(group.ready())
        internal = {known.id: known for known in ray_compat.reservations()}[group.id.hex()]
        lacks(monkeypatch, GCS)
        public = {known.id: known for known in ray_compat.reservations()}[group.id.hex()]
    finally:
        remove_placement_group(group)
    assert (internal.creator, public.creator) == ("", None)
    assert (internal.state, internal.bundles) == (public.state, public.bundles)


@pytest.mark.parametrize("module", [CONSTANTS, "ray._raylet"])
def test_session_that_would_listen_beyond_loopback_does_not_start(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    lacks(monkeypatch, module)
    with pytest.raises(UserError, match=ray.__version__), session_token(), loopback_only():
        pytest.fail("the session would be reachable from outside")
    assert {name: value for name, value in os.environ.items() if name.startswith("RAY_")} == before


def test_missing_token_cache_does_not_prevent_joining_a_cluster(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lacks(monkeypatch, "ray._raylet")
    with caplog.at_level(logging.WARNING, "vicc_ray"):
        ray_compat.reload_token()
    assert ray.__version__ in caplog.text


OLD_NAMES_GONE = """
import sys
from importlib import import_module
from types import ModuleType
sys.path.remove("")  # as in the command
from ray.job_config import JobConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from vicc_ray.pipelines.cluster import ray_compat

SAFETY = ("ray._private.ray_constants", "ray._raylet")
ray_compat.import_module = lambda name: import_module(name) if name in SAFETY else ModuleType(name)

def move(kind, *names):
    "Move methods from the class to instance lookup, as if Ray had renamed them."
    moved = {name: vars(kind)[name] for name in names}
    for name in names:
        delattr(kind, name)
    def find(self, name):
        if name in moved:
            return moved[name].__get__(self)
        raise AttributeError(name)
    kind.__getattr__ = find

move(JobConfig, "_serialize")
move(DataParallelTrainer, "_register_sigint_handler", "_create_default_callbacks")
from vicc_ray.__main__ import main
sys.exit(main())
"""


def test_training_runs_without_any_internal_name(store: Path, tmp_path: Path) -> None:
    """Each warning appears once, and no module is imported from the current folder."""
    recipe, run = tmp_path / "recipe.yaml", RunDir(tmp_path / "run")
    recipe.write_text(dump_config(rgb_only(1)))
    (tmp_path / "av.py").write_text("raise SystemExit('a module of the current folder is run')")
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    paths = [str(Path(vicc_ray.__file__).parents[1]), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", OLD_NAMES_GONE, "pretrain", recipe, "--store", store, "--run", run.path],
        env={**environment, "PYTHONPATH": os.pathsep.join(path for path in paths if path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert run.step == 4
    warnings = [line for line in done.stderr.splitlines() if ray.__version__ in line]
    assert len(warnings) == len(set(warnings)) >= 4, done.stderr


def test_only_ray_compat_uses_private_names() -> None:
    package = Path(vicc_ray.__file__).parent
    private_names = {
        str(path.relative_to(package)): names
        for path in package.rglob("*.py")
        if (names := sorted(_internal_names(ast.parse(path.read_text()))))
    }
    assert private_names.keys() <= {"pipelines/cluster/ray_compat.py"}, private_names


def _internal_names(tree: ast.AST) -> set[str]:
    """Private names: imports from Ray or Optuna and attributes of `ray`."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute) and ast.unparse(node).startswith("ray."):
            names.add(ast.unparse(node))
    return {
        name
        for name in names
        for first, *rest in [name.split(".")]
        if first in ("ray", "optuna") and any(part.startswith("_") or part in ("v2", "generated") for part in rest)
    }
