"""Ray on this machine for as long as a pipeline needs it, or the cluster that is already there."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.data import DataContext

from vicc_ray.config import RayConfig
from vicc_ray.errors import UserError
from vicc_ray.interruption import kept_handlers
from vicc_ray.pipelines.ray_errors import first_line

WARM_PROCESSES = "64"
"""Processes up to which Ray keeps those that wait for work. By default it ends them after a second as soon as there are
more processes than CPUs, and each decoding task, check and trial imports torch anew: with this, a training of a few
seconds took 21 s in all, and 30 s without."""
PREEMPTION_WATCHER = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
REACHABLE_S = 10.0
"""Seconds in which the head of a cluster must take a connection."""


@contextmanager
def ray_session(config: RayConfig) -> Iterator[None]:
    """Make sure that Ray runs inside the block.

    - Ray is initialised in this process: it is used as it is and left running.
    - ``RAY_ADDRESS`` is set: that cluster is joined, and left at the end.
    - Otherwise Ray is started here, without a dashboard and with a token that only this process and its children
      know (Ray's ports listen on all interfaces, whatever address it is given), and stopped at the end. A
      ``RAY_AUTH_MODE`` or ``RAY_AUTH_TOKEN`` that is set already is respected.

    Raises:
        UserError: Ray cannot be started or joined.
    """
    quiet()
    if ray.is_initialized():
        yield
        return
    try:
        with kept_handlers():
            _start_or_join(config)
    except KeyboardInterrupt:
        ray.shutdown()
        raise
    except Exception as error:  # Ray raises a bare one where its processes take too long to start
        ray.shutdown()
        raise UserError(f"Ray did not start: {first_line(error)}. {_advice()}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _start_or_join(config: RayConfig) -> None:
    if os.environ.get("RAY_ADDRESS"):
        _check_reachable(os.environ["RAY_ADDRESS"])
        ray.init(logging_level=logging.WARNING, log_to_driver=False)
    else:
        _start(config)


def _start(config: RayConfig) -> None:
    if "RAY_AUTH_MODE" not in os.environ:
        # With the mode unset, init switches token mode on, for this process (where ray, once imported, no longer looks
        # at the variable by itself) and its children. It reads the token once, so later sessions must find the same.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)  # "token mode is on"
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_num_workers_soft_limit", WARM_PROCESSES)
    # One machine, which nobody announces to be taken away: not a process for each training that asks about it.
    os.environ.setdefault(PREEMPTION_WATCHER, "0")
    ray.init(
        address="local",
        num_cpus=config.cpus or None,
        object_store_memory=config.object_store_mb * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
    )
    if os.environ.get("RAY_AUTH_MODE") not in ("token", "disabled"):
        raise RuntimeError("Ray did not switch its token mode on; set RAY_AUTH_MODE to token or disabled yourself")


def _check_reachable(address: str) -> None:
    """Ray itself tries for minutes before it says that nobody answers.

    Raises:
        OSError: nobody does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), REACHABLE_S).close()


def _advice() -> str:
    address = os.environ.get("RAY_ADDRESS")
    if address:
        return f"RAY_ADDRESS is {address}: is that cluster up? Unset it to run on this machine alone"
    return (
        "Look at ray.object_store_mb against the free memory and /dev/shm, and at the free disk of /tmp; where the "
        "machine is busy with other work, try again later"
    )


def quiet() -> None:
    """One progress display is enough: the pipelines bring their own. For this process; tasks call it themselves."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)  # "progress bars disabled"
    for name in ("exceptions", "_internal.execution.streaming_executor_state"):  # they are raised as well
        logging.getLogger(f"ray.data.{name}").setLevel(logging.CRITICAL)
