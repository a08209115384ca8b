"""Ray internals: every use of Ray that is not its public API, with a check and a fallback for each.

A Ray release may rename any of these without notice. They are looked up when they are used, so that a missing name
costs one feature and not the import of every command. A fallback logs one warning that names Ray's version. Where the
name keeps other accounts out there is no weaker fallback: the session stops with an error, or starts in a way that is
as safe.

- Placement group table and actor table (`ray._private.state`, `ray.core.generated.gcs_pb2`), class name of
  `TrainController` (`ray.train.v2._internal`): which placement groups a dead controller of Ray Train has left, and
  which of this process wait for resources. Without them: the public table, which names no creator. Nothing is reaped,
  and waits of other processes are reported too.
- `ray._private.state.available_resources_per_node`: whether one node has room for a task. Without it: the free
  resources of the whole cluster.
- `ray._private.state.state.get_cluster_config`, `ray.experimental.internal_kv._internal_kv_get` and its key in
  `ray._private.ray_constants`: nodes that an autoscaler may add. Without them: `~/ray_bootstrap_config.yaml` of
  `ray up`; where there is none, the cluster counts as fixed.
- `TorchTrainer._create_default_callbacks`: leaves out two helper actors. Without it: they start, 3 s of CPU each.
- `TorchTrainer._register_sigint_handler`: Ctrl-C while a training waits for nodes. Without it: Ray Train's handler
  waits as well, and the process ends after 12 s.
- `JobConfig._serialize`, `JobConfig._py_driver_sys_path`: workers do not import from the current folder. Without them:
  Ray starts from `/`, which only root can write to.
- `ray._private.ray_constants.ENABLE_RAY_CLUSTER` and its variable: Ray listens on 127.0.0.1 alone. Without them: error.
- `ray._raylet.Config`, `ray._raylet.AuthenticationTokenLoader`: a new token in a process that has read one. Without
  them: error where Ray is started, warning where a cluster is joined.

Not imports, and harmless where they change: the keyword `_temp_dir` of `ray.init`, the logger names
`ray._private.authentication` and `ray.data._internal`. Outside the package, `tests/cluster` checks launch files with
the only validator there is (`ray.autoscaler._private`), `benchmarks/fake_provider.py` is a node provider
(`ray.autoscaler._private.fake_multi_node`), `benchmarks/processes.py` reads the object store
(`ray._private.internal_api`), and `tests/fake_cluster.py` announces a preemption (`ray._raylet.GcsClient`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.job_config import JobConfig
from ray.util import placement_group_table

from vicc_ray.errors import UserError
from vicc_ray.utils.log import LOG

T = TypeVar("T")
CHANGED = (ImportError, AttributeError, KeyError, TypeError)
"""Exceptions of a call into internals that have changed: another name, another signature, another table."""
NEEDLESS_CALLBACKS = ("DatasetsCallback", "PlacementGroupCleanerCallback")
"""Ray Train callbacks that are left out.

The first starts an actor that splits Ray Datasets, and clips come from tasks here. The second starts one that reaps
placement groups by the dashboard, which a local Ray does not have; :mod:`orphans` does that, and the actor would poll
every second until Ray ends.
"""
ROOT = Path("/")

_warned: set[str] = set()


def find(module: str, *names: str) -> Any:
    """An internal object, by the module that has it and the attributes that lead to it.

    Raises:
        ImportError, AttributeError: this version of Ray does not have it.
    """
    found = import_module(module)
    for name in names:
        found = getattr(found, name)
    return found


def warn_once(lost: str, error: object) -> None:
    """Log what is lost with this version of Ray, the first time."""
    if lost not in _warned:
        _warned.add(lost)
        LOG.warning("%s", _unsupported(lost, error))


def _unsupported(lost: str, error: object) -> str:
    return (
        f"Ray {ray.__version__} lacks an internal name that vicc-ray uses ({error}): {lost}. The bound on ray in "
        "pyproject.toml says which versions are tested"
    )


def _or_else(internal: Callable[[], T], public: Callable[[], T], lost: str) -> T:
    """What ``internal`` returns; where Ray has changed, what ``public`` returns, with one warning."""
    try:
        return internal()
    except CHANGED as error:
        warn_once(lost, error)
        return public()


@dataclass(frozen=True)
class Reservation:
    """A placement group that has its resources or waits for them.

    Attributes:
        creator: id of the actor that created it, "" for the driver; None where this Ray does not say.
    """

    id: str
    state: str
    bundles: tuple[Mapping[str, float], ...]
    creator: str | None


def reservations() -> list[Reservation]:
    """Placement groups of this job that are not removed; of the whole cluster where Ray does not say whose they are."""
    lost = "placement groups of a dead Ray Train controller are not reaped, and waits of other jobs may be reported"
    return [group for group in _or_else(_table_with_creators, _public_table, lost) if group.state != "REMOVED"]


def _table_with_creators() -> list[Reservation]:
    kind = find("ray.core.generated.gcs_pb2", "PlacementGroupTableData")
    job = ray.get_runtime_context().get_job_id()
    table = find("ray._private.state", "state")._connect_and_get_accessor().get_placement_group_table()
    return [
        Reservation(
            group.placement_group_id.hex(),
            kind.PlacementGroupState.Name(group.state),
            tuple(dict(bundle.unit_resources) for bundle in group.bundles),
            "" if ray.ActorID(group.creator_actor_id).is_nil() else group.creator_actor_id.hex(),
        )
        for group in map(kind.FromString, table)
        if group.creator_job_id.hex() == job
    ]


def _public_table() -> list[Reservation]:
    return [
        Reservation(id, group["state"], tuple(group["bundles"].values()), None)
        for id, group in placement_group_table().items()
    ]


@dataclass(frozen=True)
class ActorInfo:
    """What Ray knows of an actor; ``owner``: id of the worker process that created it."""

    class_name: str
    dead: bool
    owner: str


def actor_info(actor: str) -> ActorInfo | None:
    """The actor with this id; None where Ray does not say."""
    return _or_else(lambda: _actor_info(actor), lambda: None, "placement groups of a dead controller are not reaped")


def _actor_info(actor: str) -> ActorInfo | None:
    kind = find("ray.core.generated.gcs_pb2", "ActorTableData")
    raw = find("ray._private.state", "state").get_actor_info(ray.ActorID.from_hex(actor))
    if raw is None:
        return None
    row = kind.FromString(raw)
    return ActorInfo(row.class_name, row.state == kind.DEAD, row.owner_address.worker_id.hex())


def controller_class_name() -> str:
    """Class name of Ray Train's controller, as Ray's actor table has it."""
    default, lost = "TrainController", "placement groups of a dead Ray Train controller may not be reaped"
    return _or_else(
        lambda: str(find("ray.train.v2._internal.execution.controller", default).__name__), lambda: default, lost
    )


def available_by_node() -> list[Mapping[str, float]]:
    """Free resources of each node; where Ray does not say, those of the cluster as if it were one node."""
    return _or_else(
        lambda: list(find("ray._private.state", "available_resources_per_node")().values()),
        lambda: [ray.available_resources()],
        "a wait for room on a single node is not reported",
    )


def autoscaler_kinds() -> list[str]:
    """Kinds of nodes that a running autoscaler reports; [] without one."""
    return _or_else(_autoscaler_kinds, list, "an autoscaler that was started by hand is not recognized")


def _autoscaler_kinds() -> list[str]:
    key = find("ray._private.ray_constants", "DEBUG_AUTOSCALING_STATUS")
    status = find("ray.experimental.internal_kv", "_internal_kv_get")(key)
    report = (json.loads(status).get("autoscaler_report") or {}) if status else {}
    return [*(report.get("active_nodes") or {}), *(report.get("idle_nodes") or {})]


def autoscaler_groups() -> list[tuple[Mapping[str, float], int]]:
    """Resources of a node and largest number of nodes, for each group that an autoscaler has registered; [] if none."""
    return _or_else(_autoscaler_groups, list, "nodes that the autoscaler may add are not known from Ray itself")


def _autoscaler_groups() -> list[tuple[Mapping[str, float], int]]:
    config = find("ray._private.state", "state").get_cluster_config()
    return [(dict(group.resources), int(group.max_count)) for group in (config.node_group_configs if config else [])]


def trainer_class() -> type:
    """Ray Train's trainer without :data:`NEEDLESS_CALLBACKS`, and interrupted like any other call of Ray.

    Ray Train's own handler of Ctrl-C asks the controller to stop and waits for its answer, which a controller that
    waits for placement groups never gives.
    """
    from ray.train.torch import TorchTrainer

    handler, callbacks = "_register_sigint_handler", "_create_default_callbacks"

    def register_nothing(trainer: Any, controller: Any) -> None:
        pass

    def create_callbacks(trainer: Any) -> list[Any]:
        created = getattr(TorchTrainer, callbacks)(trainer)
        return [callback for callback in created if type(callback).__name__ not in NEEDLESS_CALLBACKS]

    overrides: dict[str, Any] = {}
    for name, override, lost in (
        (handler, register_nothing, "Ctrl-C while a training waits for nodes takes up to 12 s"),
        (callbacks, create_callbacks, "each start of workers takes some seconds more"),
    ):
        if hasattr(TorchTrainer, name):
            overrides[name] = override
        else:
            warn_once(lost, f"TorchTrainer.{name}")
    return type("Trainer", (TorchTrainer,), overrides)


class _JobConfig(JobConfig):
    """Driver job whose workers do not import from the current folder."""

    sent = False

    def _serialize(self) -> Any:
        # The only place after ray.init has added the folder.
        self.sent = True
        here = Path.cwd()
        self._py_driver_sys_path = [path for path in self._py_driver_sys_path if Path(path) != here]
        return super()._serialize()  # bytes, whatever its annotation says


@contextmanager
def driver_job() -> Iterator[JobConfig]:
    """Job config for a ``ray.init`` in the block: workers import from where this process does, and nowhere else.

    Ray puts the current folder first in the import path of every worker. Whoever works on other people's videos stands
    in their folder, and a ``queue.py`` in it would be run.

    Raises:
        UserError: Ray may have added the folder all the same.
    """
    here = Path.cwd()
    if here in [Path(path).absolute() for path in sys.path]:
        yield JobConfig()
    elif hasattr(JobConfig, "_serialize") and hasattr(JobConfig(), "_py_driver_sys_path"):
        job = _JobConfig()
        yield job
        if not job.sent:
            raise UserError(_unsupported(f"workers would import from the current folder {here}", "JobConfig"))
    else:
        warn_once(f"Ray starts in {ROOT}, so that workers do not import from the current folder", "JobConfig")
        os.chdir(ROOT)
        try:
            yield JobConfig()
        finally:
            os.chdir(here)


@contextmanager
def loopback_only() -> Iterator[None]:
    """Have a Ray that starts in the block listen on 127.0.0.1 alone, as it does where it supports no clusters.

    A driver that joins such a Ray needs the same: otherwise Ray takes 127.0.0.1 for the address of a network interface.

    Raises:
        UserError: this Ray has no such switch.
    """
    try:
        constants = find("ray._private.ray_constants")
        before, variable = constants.ENABLE_RAY_CLUSTER, constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    except CHANGED as error:
        raise UserError(
            _unsupported("a Ray of this machine would listen on all network interfaces, so none is started", error)
            + "; install one of those, or start Ray yourself (`ray start --head`) and give --address auto"
        ) from None
    constants.ENABLE_RAY_CLUSTER = False
    try:
        with environment({variable: "0"}):
            yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before


def reload_token(required: bool = False) -> None:
    """Have Ray read the token and its mode from the environment again, which it does once a process by itself.

    Args:
        required: whether a session is about to start with a token of its own, which must not be an earlier one.

    Raises:
        UserError: it is required, and this Ray cannot do it.
    """
    try:
        find("ray._raylet", "Config").initialize("")
        find("ray._raylet", "AuthenticationTokenLoader").instance().reset_cache()
    except CHANGED as error:
        if required:
            lost = "a Ray of this machine might not ask for a token of its own, so none is started"
            raise UserError(
                _unsupported(lost, error)
                + "; install one of those, or start Ray yourself (`ray start --head`) and give --address auto"
            ) from None
        warn_once("a token that was set after Ray was imported may not be sent", error)


@contextmanager
def environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables in the block, None: unset them; afterwards they are as before, whatever has changed them."""
    before = {name: os.environ.get(name) for name in changes}
    _set(changes)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
