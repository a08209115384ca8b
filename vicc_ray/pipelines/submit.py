"""Client of a cluster's job server: submits jobs, follows their logs and explains failures. Needs ray[default]."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shlex
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import requests
from ray.exceptions import RayError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient
from ray.util.state import list_nodes
from ray.util.state.common import NodeState
from ray.util.state.exception import RayStateApiException

from vicc_ray.errors import UserError
from vicc_ray.pipelines.cluster.address import TOKEN_ADVICE, sends_token
from vicc_ray.pipelines.cluster.errors import first_line
from vicc_ray.pipelines.cluster.ray_compat import reload_token
from vicc_ray.pipelines.job_spec import PackagedJob
from vicc_ray.utils.cleartext import is_cleartext, is_this_machine
from vicc_ray.utils.local_paths import without_secrets
from vicc_ray.utils.log import LOG
from vicc_ray.utils.visible_text import OWN_BREAK

OUT, COMMAND = "vicc_ray_out", "vicc_ray_command"
"""Keys of a job's metadata."""
RETRY_INTERVAL_S = 2.0
"""Seconds between attempts to reach a job server."""
STARTUP_TIMEOUT_S = 60.0
"""Seconds for a new cluster to become ready for jobs."""
RECONNECT_TIMEOUT_S = 600.0
"""Seconds to reconnect, while a tunnel reopens or the head restarts."""
MAX_NODES = 1000
LOST = (RuntimeError, OSError, requests.RequestException, aiohttp.ClientError, asyncio.TimeoutError)


class JobServer:
    """Job server of a cluster.

    Args:
        address: address of its dashboard, as ``http://127.0.0.1:8265`` through a tunnel.

    Raises:
        UserError: no answer, or a rejected token.
    """

    def __init__(self, address: str) -> None:
        if not address.startswith(("http://", "https://")):
            raise UserError(
                f"--address: {address!r} given; a job server is http://HOST:PORT, as http://127.0.0.1:8265 while "
                "`ray dashboard CLUSTER.yaml` runs"
            )
        self.address = address.rstrip("/")
        if sends_token() and is_cleartext(self.address):
            LOG.warning(
                "%s: the token is sent in cleartext; anyone on the path can read it and run code on the cluster. "
                "Use a tunnel (`ray dashboard`, `kubectl port-forward`, `ssh -L`) to http://127.0.0.1:8265, or https",
                without_secrets(self.address),
            )
        bypass_proxies(self.address)
        # Ray would prefer these to the given address.
        for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
            os.environ.pop(name, None)
        logging.getLogger("ray.dashboard.modules.dashboard_sdk").setLevel(logging.WARNING)  # "Uploading package"
        reload_token()
        try:
            self.client = JobSubmissionClient(self.address)
        except (RuntimeError, ConnectionError, RayError) as error:
            raise UserError(_unreachable(self.address, error)) from error

    def submit(self, job: PackagedJob, resume: bool = False) -> str:
        """Submit a job, or find the running one, and return its id.

        Args:
            resume: resume in the folder of an earlier job that has ended.

        Raises:
            UserError: the folder belongs to another job.
        """
        earlier = self.of(job.out)
        if earlier is not None:
            id, command = str(earlier.submission_id), (earlier.metadata or {}).get(COMMAND)
            if not earlier.status.is_terminal():
                if command == _command(job):
                    return id
                raise UserError(
                    f"{job.out}: job {id} writes there and runs another command ({command}); wait for it, stop it with "
                    f"`vicc-ray submit --stop {id}`, or give another --out"
                )
            if not resume:
                raise UserError(
                    f"{job.out}: job {id} wrote there and has ended ({earlier.status.value}); give --resume to go on "
                    "with it, or another --out"
                )
        with tempfile.TemporaryDirectory() as folder:
            for name, content in job.files.items():
                (Path(folder) / name).write_text(content, "utf-8")
            id = f"vicc-ray-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
            self._send(
                entrypoint=f"python -m vicc_ray {_command(job)}",
                submission_id=id,
                runtime_env={"working_dir": folder},
                metadata={OUT: job.out, COMMAND: _command(job)},
            )
        return id

    def _send(self, **job: Any) -> None:
        """Submit, and retry while a new cluster has no job agent yet.

        Raises:
            UserError: the cluster rejects the job.
        """
        end = time.monotonic() + STARTUP_TIMEOUT_S
        while True:
            try:
                self.client.submit_job(**job)
                return
            except RuntimeError as error:
                if "No available agent" not in str(error) or time.monotonic() > end:
                    raise UserError(
                        f"{self.address}: the cluster does not take the job ({first_line(error)})"
                    ) from error
            time.sleep(RETRY_INTERVAL_S)  # no event announces the agent

    def of(self, out: str) -> JobDetails | None:
        """Newest job that writes to a folder."""
        jobs = [job for job in self.client.list_jobs() if (job.metadata or {}).get(OUT) == out]
        return max(jobs, key=lambda job: job.start_time or 0, default=None)

    def details(self, id: str) -> JobDetails:
        """Details of a job.

        Raises:
            UserError: no job with this id.
        """
        try:
            return self.client.get_job_info(id)
        except RuntimeError as error:
            ours = [str(job.submission_id) for job in self.client.list_jobs() if OUT in (job.metadata or {})]
            raise UserError(
                f"no job {id!r} on {self.address}; there are: {', '.join(sorted(ours)) or 'none'}"
            ) from error

    def stop(self, id: str) -> None:
        """Stop a job; its checkpoints remain."""
        self.details(id)
        self.client.stop_job(id)

    def follow(self, id: str, tell: Callable[[str], object]) -> JobDetails:
        """Pass on a job's output until it ends, each line once; reconnects after a lost connection.

        Raises:
            UserError: no such job, or no connection for ``RECONNECT_TIMEOUT_S``.
        """
        self.details(id)
        log, last_contact = _LogTail(tell), time.monotonic()
        while True:
            printed = log.printed
            try:
                asyncio.run(self._tail(id, log))
                job = self.client.get_job_info(id)
                if job.status.is_terminal():
                    return job
                last_contact = time.monotonic()
            except LOST as error:
                if log.printed > printed:
                    last_contact = time.monotonic()
                if time.monotonic() - last_contact > RECONNECT_TIMEOUT_S:
                    raise UserError(_unreachable(self.address, error) + f"; job {id} may continue there") from error
            time.sleep(RETRY_INTERVAL_S)

    async def _tail(self, id: str, log: _LogTail) -> None:
        log.received = 0  # the server starts from the first character each time
        async for text in self.client.tail_job_logs(id):
            log.add(text)

    def why(self, job: JobDetails) -> str:
        """Reason and machine of a job's failure, and the machines that the cluster has lost."""
        node = self._address_of(job.driver_node_id or "")
        code = "" if job.driver_exit_code is None else f", exit code {job.driver_exit_code}"
        lines = [f"job {job.submission_id} {job.status.value.lower()} on the machine {node}{code}: {_message(job)}"]
        for lost in self._nodes():
            if lost.state == "DEAD":
                lines.append(f"lost machine {lost.node_ip}: {lost.state_message or 'no reason known'}")
        return OWN_BREAK.join(lines)

    def _address_of(self, node: str) -> str:
        return next((str(state.node_ip) for state in self._nodes() if state.node_id == node), "of its head")

    def _nodes(self) -> list[NodeState]:
        with suppress(*LOST, RayStateApiException):
            return list_nodes(self.address, limit=MAX_NODES, detail=True, raise_on_missing_output=False)
        return []


def bypass_proxies(address: str) -> None:
    """Make this process reach a local address, such as a tunnel, directly, whatever ``HTTP_PROXY`` is."""
    host = urlsplit(address).hostname or ""
    if not is_this_machine(host):
        return
    direct = [name for name in (os.environ.get("no_proxy"), os.environ.get("NO_PROXY"), host) if name]
    for variable in ("no_proxy", "NO_PROXY"):  # programs read one or the other
        os.environ[variable] = ",".join(dict.fromkeys(direct))


class _LogTail:
    """Log of a job, printed once although each connection sends it from the start."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell
        self.received = self.printed = 0
        """Characters of this connection, and of all connections."""

    def add(self, text: str) -> None:
        self.received += len(text)
        if self.received > self.printed:
            self._tell(text[len(text) - (self.received - self.printed) :])
            self.printed = self.received


def succeeded(job: JobDetails) -> bool:
    """Whether a job succeeded."""
    return bool(job.status == JobStatus.SUCCEEDED)


def _command(job: PackagedJob) -> str:
    return shlex.join(job.arguments)


def _message(job: JobDetails) -> str:
    return " ".join((job.message or "no reason known").split())


def _unreachable(address: str, error: BaseException) -> str:
    reason = first_line(error)
    if "oken" in reason or "401" in reason or "403" in reason:
        return f"{address}: the cluster does not take the token of this machine ({reason}); {TOKEN_ADVICE}"
    return f"{address}: no job server answers there ({reason}); is the cluster up, and does `ray dashboard` run?"
