"""A packaged job on a cluster's job server: sent, followed, and told why it failed. Needs ray[default]."""

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
"""Seconds between tries to reach a job server that has gone away."""
STARTUP_TIMEOUT_S = 60.0
"""Seconds in which a cluster gets ready to take jobs."""
RECONNECT_TIMEOUT_S = 600.0
"""Seconds for which it is tried: a tunnel that is opened again, a head that is restarted."""
MAX_NODES = 1000
LOST = (RuntimeError, OSError, requests.RequestException, aiohttp.ClientError, asyncio.TimeoutError)


class JobServer:
    """The jobs of one cluster.

    Args:
        address: of its dashboard, as ``http://127.0.0.1:8265`` through a tunnel.

    Raises:
        UserError: nobody answers there, or it does not take this process's token.
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
                "%s: the token is sent there as it is; whoever is on the way can read it, and run code on the cluster. "
                "Use a tunnel (`ray dashboard`, `kubectl port-forward`, `ssh -L`) to http://127.0.0.1:8265, or https",
                without_secrets(self.address),
            )
        bypass_proxies(self.address)
        # Ray would prefer these to the address that was given.
        for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
            os.environ.pop(name, None)
        logging.getLogger("ray.dashboard.modules.dashboard_sdk").setLevel(logging.WARNING)  # "Uploading package"
        reload_token()
        try:
            self.client = JobSubmissionClient(self.address)
        except (RuntimeError, ConnectionError, RayError) as error:
            raise UserError(_unreachable(self.address, error)) from error

    def submit(self, job: PackagedJob, resume: bool = False) -> str:
        """Begin a job, or find it if it runs already; its id.

        Args:
            resume: go on with what an earlier job of the same folder has left.

        Raises:
            UserError: the folder is that of another job.
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
        """A cluster that has just come up says for a while that it has no agent for jobs yet.

        Raises:
            UserError: it does not take the job.
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
            time.sleep(RETRY_INTERVAL_S)  # nothing tells when it has one

    def of(self, out: str) -> JobDetails | None:
        """The newest job that writes to a folder."""
        jobs = [job for job in self.client.list_jobs() if (job.metadata or {}).get(OUT) == out]
        return max(jobs, key=lambda job: job.start_time or 0, default=None)

    def known(self, id: str) -> JobDetails:
        """What is known of a job.

        Raises:
            UserError: there is none of this name.
        """
        try:
            return self.client.get_job_info(id)
        except RuntimeError as error:
            ours = [str(job.submission_id) for job in self.client.list_jobs() if OUT in (job.metadata or {})]
            raise UserError(
                f"no job {id!r} on {self.address}; there are: {', '.join(sorted(ours)) or 'none'}"
            ) from error

    def stop(self, id: str) -> None:
        """End a job; what it has trained is kept."""
        self.known(id)
        self.client.stop_job(id)

    def follow(self, id: str, tell: Callable[[str], object]) -> JobDetails:
        """Hand on what a job prints until it ends; a connection that breaks is made again, and nothing comes twice.

        Raises:
            UserError: there is no such job, or its server has been away for too long.
        """
        self.known(id)
        log, last_heard = _Log(tell), time.monotonic()
        while True:
            told = log.told
            try:
                asyncio.run(self._tail(id, log))
                job = self.client.get_job_info(id)
                if job.status.is_terminal():
                    return job
                last_heard = time.monotonic()
            except LOST as error:
                if log.told > told:
                    last_heard = time.monotonic()
                if time.monotonic() - last_heard > RECONNECT_TIMEOUT_S:
                    raise UserError(_unreachable(self.address, error) + f"; job {id} may go on there") from error
            time.sleep(RETRY_INTERVAL_S)  # between two tries of a server that may be away

    async def _tail(self, id: str, log: _Log) -> None:
        log.seen = 0  # the server begins with the first character each time
        async for text in self.client.tail_job_logs(id):
            log.add(text)

    def why(self, job: JobDetails) -> str:
        """Why a job failed, and on which machine; with the machines that the cluster has lost."""
        node = self._address_of(job.driver_node_id or "")
        code = "" if job.driver_exit_code is None else f", exit code {job.driver_exit_code}"
        lines = [f"job {job.submission_id} {job.status.value.lower()} on the machine {node}{code}: {_message(job)}"]
        for lost in self._nodes():
            if lost.state == "DEAD":
                lines.append(f"lost machine {lost.node_ip}: {lost.state_message or 'no reason known'}")
        return OWN_BREAK.join(lines)

    def _address_of(self, node: str) -> str:
        return next((str(known.node_ip) for known in self._nodes() if known.node_id == node), "of its head")

    def _nodes(self) -> list[NodeState]:
        with suppress(*LOST, RayStateApiException):
            return list_nodes(self.address, limit=MAX_NODES, detail=True, raise_on_missing_output=False)
        return []


def bypass_proxies(address: str) -> None:
    """Have this process reach an address on this machine, as of a tunnel, directly whatever ``HTTP_PROXY`` says."""
    host = urlsplit(address).hostname or ""
    if not is_this_machine(host):
        return
    direct = [name for name in (os.environ.get("no_proxy"), os.environ.get("NO_PROXY"), host) if name]
    for variable in ("no_proxy", "NO_PROXY"):  # programs look at either
        os.environ[variable] = ",".join(dict.fromkeys(direct))


class _Log:
    """What a job has printed, told once however often it is read from its beginning."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell
        self.seen = self.told = 0
        """Characters of this reading; of all of them."""

    def add(self, text: str) -> None:
        self.seen += len(text)
        if self.seen > self.told:
            self._tell(text[len(text) - (self.seen - self.told) :])
            self.told = self.seen


def succeeded(job: JobDetails) -> bool:
    """Whether a job came to its end."""
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
