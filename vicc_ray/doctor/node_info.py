"""Information on one machine: versions, GPUs, free disk and memory, Ray's authentication."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("ray", "torch", "vicc-ray")
"""Packages whose versions must be equal on all machines, as must that of Python."""
COMMAND_TIMEOUT_S = 120
"""Seconds after which a command is killed."""
ASK_TORCH = """\
import sys
sys.path[:] = filter(None, sys.path)  # import nothing from the current folder
import json, torch
try:
    torch.cuda.init()
    print(json.dumps([torch.cuda.device_count(), ""]))
except Exception as error:
    print(json.dumps([0, str(error).splitlines()[0]]))
"""


@dataclass(frozen=True)
class GpuInfo:
    """GPUs of one machine."""

    names: tuple[str, ...] = ()
    """Names, as the driver lists them."""
    driver: str = ""
    """Version of the driver; "" without one."""
    usable: int = 0
    """Number of GPUs that torch can use."""
    problem: str = ""
    """Why torch cannot use any; "" if it can."""


@dataclass(frozen=True)
class NodeInfo:
    """Properties of one machine; free disk and memory are in bytes, at the time of the check."""

    name: str
    versions: dict[str, str]
    """Versions of Python and :data:`PACKAGES`."""
    gpus: GpuInfo
    free_disk: int
    """On the disk to which Ray spills objects."""
    free_memory: int
    auth: str
    """RAY_AUTH_MODE of its processes."""


def collect_node_info(name: str) -> NodeInfo:
    """Information on this machine, under the given name."""
    return NodeInfo(
        name=name,
        versions=_versions(),
        gpus=_gpus(),
        free_disk=shutil.disk_usage(tempfile.gettempdir()).free,
        free_memory=_free_memory(),
        auth=os.environ.get("RAY_AUTH_MODE", ""),
    )


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "missing"
    return versions


def _gpus() -> GpuInfo:
    listed = _output("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    pairs = [line.rpartition(", ") for line in listed.splitlines() if ", " in line]
    if not pairs:
        return GpuInfo()
    # In a subprocess, because Ray hides GPUs from tasks that request none.
    answer = _output(sys.executable, "-c", ASK_TORCH)
    usable, problem = json.loads(answer) if answer else (0, "torch cannot be imported")
    return GpuInfo(tuple(name for name, _, _ in pairs), pairs[0][2], usable, problem)


def _output(*command: str) -> str:
    """Standard output of a command; "" if it fails or does not exist."""
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=COMMAND_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _free_memory() -> int:
    """MemAvailable on Linux; elsewhere all memory of the machine."""
    file = Path("/proc/meminfo")
    if file.exists():
        for line in file.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
