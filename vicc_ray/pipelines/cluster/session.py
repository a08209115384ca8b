"""Ray session of a command: the cluster in ``RAY_ADDRESS``, or a Ray on this machine that ends with the command."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import ray
from ray.data import DataContext
from ray.job_config import JobConfig

from vicc_ray.config import RayConfig
from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster.address import cluster_address
from vicc_ray.pipelines.cluster.errors import first_line
from vicc_ray.pipelines.cluster.loopback_session import (
    is_loopback_head,
    is_loopback_session,
    session_token,
)
from vicc_ray.pipelines.cluster.ray_compat import driver_job, loopback_only, reload_token
from vicc_ray.pipelines.cluster.session_dir import session_dir
from vicc_ray.pipelines.cluster.startup_errors import (
    check_memory,
    connection_advice,
    slow_store_advice,
    startup_advice,
    store_on_disk_mb,
)
from vicc_ray.utils.interruption import restore_signal_handlers
from vicc_ray.utils.log import LOG

IDLE_WORKERS = "64"
"""Idle worker processes that Ray keeps. By default it ends those beyond the number of CPUs after a second, and every
task and actor imports torch again: a training of a few seconds took 30 s in all, and 21 s with this setting."""
PREEMPTION_WATCHER = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
CONNECT_TIMEOUT_S = 10.0
"""Timeout of a connection to the head of a cluster."""
HTTP_TIMEOUT_S = 2.0
"""Timeout of the answer of a web server; a head of Ray closes the connection or answers otherwise at once."""


_own: list[bool] = []
"""Not empty while this process uses a Ray session that it has started."""


@contextmanager
def ray_session(config: RayConfig) -> Iterator[None]:
    """Connect this process to Ray for the block.

    - Where Ray is initialized in this process, that session is used and left running.
    - Where ``RAY_ADDRESS`` is set, that cluster is joined, and left at the end.
    - Otherwise Ray starts on this machine and stops at the end: in a folder of its own
      (:mod:`vicc_ray.pipelines.cluster.session_dir`), without a dashboard, on the loopback alone and with a token of
      its own (:mod:`vicc_ray.pipelines.cluster.loopback_session`).

    Raises:
        UserError: Ray cannot be started or joined.
    """
    silence_ray()
    if ray.is_initialized():
        yield
        return
    address = cluster_address()
    with _joined(address) if address else _started(config):
        yield


def owns_session() -> bool:
    """Whether :func:`ray_session` started Ray in this process: no node joins it, and no other job runs on it."""
    return bool(_own)


@contextmanager
def _joined(address: str) -> Iterator[None]:
    try:
        _check_reachable(address)
        reload_token()
        loopback = loopback_only() if is_loopback_head(address) else nullcontext()
        with restore_signal_handlers(), loopback, driver_job() as job:
            ray.init(address=address, job_config=job, logging_level=logging.WARNING, log_to_driver=False)
    except KeyboardInterrupt:
        ray.shutdown()
        raise
    except UserError:
        raise
    except Exception as error:
        ray.shutdown()
        raise UserError(
            f"the cluster was not joined: {first_line(error)}. {connection_advice(address, error)}"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _started(config: RayConfig) -> Iterator[None]:
    check_memory(config.object_store_mb)
    on_disk = store_on_disk_mb(config.object_store_mb)
    with session_dir(on_disk) as folder, session_token():
        if on_disk:
            LOG.warning("%s", slow_store_advice(config.object_store_mb, folder.path))
        try:
            with restore_signal_handlers(), loopback_only(), driver_job() as job:
                _start(config, folder.inner, job)
        except KeyboardInterrupt:
            ray.shutdown()
            raise
        except Exception as error:  # Ray raises a bare Exception where its processes are slow to start
            ray.shutdown()
            folder.release()
            advice = startup_advice(config, error, folder.path)
            raise UserError(f"Ray did not start: {first_line(error)}. {advice}") from error
        _own.append(True)
        try:
            yield
        finally:
            _own.clear()
            ray.shutdown()


def _start(config: RayConfig, folder: Path, job: JobConfig) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_num_workers_soft_limit", IDLE_WORKERS)
    # A local session gets no preemption notices: save an actor process for each training.
    os.environ.setdefault(PREEMPTION_WATCHER, "0")
    ray.init(
        address="local",
        job_config=job,
        num_cpus=config.cpus or None,
        object_store_memory=config.object_store_mb * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
        _temp_dir=str(folder.absolute()),
    )
    if os.environ.get("RAY_AUTH_MODE", "").lower() not in ("token", "disabled"):
        raise RuntimeError("Ray did not switch its token mode on")
    if not is_loopback_session():
        raise RuntimeError("Ray listens beyond 127.0.0.1")


def _check_reachable(address: str) -> None:
    """Check the address at once; Ray itself tries for minutes before it reports an error.

    Raises:
        OSError: nothing answers.
        UserError: a web server does, such as the dashboard.
    """
    host, colon, port = address.rpartition(":")
    if not (colon and port.isdigit()):
        return
    with socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT_S) as connection:
        connection.settimeout(HTTP_TIMEOUT_S)
        with suppress(OSError):
            connection.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
            if connection.recv(5) == b"HTTP/":
                raise UserError(
                    f"{address}: a web server answers there, such as a cluster's dashboard; give the port of the "
                    f"head (6379), or use `vicc-ray submit --dashboard-address http://{address}`"
                )


def silence_ray() -> None:
    """Turn off Ray's progress bars and notices in this process: pipelines have a progress display of their own."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)  # "progress bars disabled"
    for name in ("exceptions", "_internal.execution.streaming_executor_state"):  # they are raised as exceptions too
        logging.getLogger(f"ray.data.{name}").setLevel(logging.CRITICAL)
