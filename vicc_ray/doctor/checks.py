"""Verdicts on the machines of a cluster: a mark, the finding, and advice. Every finding names its machines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vicc_ray.doctor.node_info import NodeInfo

Mark = Literal["ok", "warn", "FAIL"]
LOW_DISK, LOW_MEMORY = 10 * 2**30, 2 * 2**30
"""Bytes of free disk and memory below which a check warns."""
MAX_CLOCK_DIFFERENCE_S = 1.0
"""Seconds. The newest file of a shared folder is determined by modification times."""
NAMED = 5
"""Maximum number of machines that a finding names."""


@dataclass(frozen=True)
class Check:
    """One line of the doctor's report."""

    mark: Mark
    subject: str
    finding: str
    advice: str = ""
    """What to do; "" if the mark is ok."""


def check_folder(folder: str, write_errors: Mapping[str, str], unseen: Mapping[str, Sequence[str]]) -> Check:
    """Check that all machines can write the folder for runs and see each other's files.

    Args:
        write_errors: machine -> error message of its write, "" if it succeeded.
        unseen: machine -> machines whose files it does not see, among those that wrote one.
    """
    failed = {machine: problem for machine, problem in write_errors.items() if problem}
    blind = {
        machine: f"does not see what {_names(others)} wrote"
        for machine, others in unseen.items()
        if others and machine not in failed
    }
    if failed:
        also = f"; {_format_findings(blind)}" if blind else ""
        advice = "mount the same shared folder on every machine, writable by this user"
        return Check("FAIL", "folder", f"{folder} is not writable on {_format_findings(failed)}{also}", advice)
    if blind:
        advice = "these are different folders: mount the same shared one (NFS, EFS, Filestore) on every machine"
        return Check("FAIL", "folder", f"{folder}: {_format_findings(blind)}", advice)
    return Check("ok", "folder", f"{folder}: shared by {_count(len(write_errors))}, and writable")


def check_store(store: str, problems: Mapping[str, str]) -> Check:
    """Check that all machines can open the clip store. ``problems``: machine -> error message, "" if it can."""
    failed = {machine: problem for machine, problem in problems.items() if problem}
    if failed:
        advice = "give a path or an address that every machine can read"
        return Check("FAIL", "store", f"{store} cannot be opened on {_format_findings(failed)}", advice)
    return Check("ok", "store", f"{store}: opened on {_count(len(problems))}")


def check_versions(machines: Sequence[NodeInfo]) -> Check:
    """Check that Python and packages have equal versions on all machines."""
    differences = []
    for name in machines[0].versions:
        machines_by_version = defaultdict(list)
        for machine in machines:
            machines_by_version[machine.versions[name]].append(machine.name)
        if len(machines_by_version) > 1:
            versions = [f"{version} on {_names(names)}" for version, names in machines_by_version.items()]
            differences.append(f"{name} {', '.join(versions)}")
    if differences:
        advice = "install the same wheel and constraints on every machine"
        return Check("FAIL", "versions", "; ".join(differences), advice)
    return Check("ok", "versions", ", ".join(f"{name} {version}" for name, version in machines[0].versions.items()))


def check_gpus(machines: Sequence[NodeInfo]) -> Check:
    """Check that torch can use every GPU that the driver lists."""
    unusable = {
        machine.name: machine.gpus.problem or f"{machine.gpus.usable} of {len(machine.gpus.names)} usable"
        for machine in machines
        if machine.gpus.usable < len(machine.gpus.names)
    }
    if unusable:
        finding = f"torch cannot use the GPUs of {_format_findings(unusable)}"
        return Check("FAIL", "GPUs", finding, "install a newer NVIDIA driver there")
    gpu_machines = [machine for machine in machines if machine.gpus.names]
    if not gpu_machines:
        return Check("warn", "GPUs", "none: training runs on CPUs", "if GPUs are expected, check the NVIDIA driver")
    gpus = {machine.name: f"{len(machine.gpus.names)} x {machine.gpus.names[0]}" for machine in gpu_machines}
    drivers = sorted({machine.gpus.driver for machine in gpu_machines})
    return Check("ok", "GPUs", f"{_format_findings(gpus)}; driver {', '.join(drivers)}")


def check_clocks(ahead: Mapping[str, float]) -> Check:
    """Check that clocks agree. ``ahead``: machine -> seconds by which it is ahead of the machine that checks."""
    if not ahead:
        return Check("warn", "clocks", "no machine returned its time", "try again")
    difference = max(ahead.values()) - min(ahead.values())
    first, last = (min(ahead, key=ahead.__getitem__), max(ahead, key=ahead.__getitem__))
    if difference > MAX_CLOCK_DIFFERENCE_S:
        finding = f"{last} is {difference:.1f} s ahead of {first}"
        return Check("warn", "clocks", finding, "synchronize them with a time server: timedatectl set-ntp true")
    return Check("ok", "clocks", f"within {max(difference, 0.001):.3f} s")


def check_disk(machines: Sequence[NodeInfo]) -> Check:
    """Check free space on the disk to which Ray spills objects."""
    advice = "free some space: Ray spills there what exceeds its object store"
    return _check_free("disk", {machine.name: machine.free_disk for machine in machines}, LOW_DISK, advice)


def check_memory(machines: Sequence[NodeInfo]) -> Check:
    """Check free memory."""
    advice = "stop other programs there, or use larger machines"
    return _check_free("memory", {machine.name: machine.free_memory for machine in machines}, LOW_MEMORY, advice)


def check_token(machines: Sequence[NodeInfo]) -> Check:
    """Check that Ray requires its token on all machines. On a single machine, a missing token only warns."""
    without = [machine.name for machine in machines if machine.auth != "token"]
    if not without:
        return Check("ok", "token", "on")
    mark: Mark = "FAIL" if len(machines) > 1 else "warn"
    finding = f"off on {_names(without)}: whoever reaches Ray's ports can run programs there"
    return Check(mark, "token", finding, "start Ray with RAY_AUTH_MODE=token and a file ~/.ray/auth_token")


def _check_free(subject: str, free: Mapping[str, int], low: int, advice: str) -> Check:
    short = {name: f"{size / 2**30:.1f} GiB" for name, size in free.items() if size < low}
    if short:
        return Check("warn", subject, f"low on {_format_findings(short)}", advice)
    return Check("ok", subject, f"{min(free.values()) / 2**30:.1f} GiB or more free on every machine")


def _format_findings(findings: Mapping[str, str]) -> str:
    """``machine (finding)`` for the first :data:`NAMED` machines."""
    return _first_few([f"{machine} ({finding})" for machine, finding in findings.items()])


def _names(machines: Iterable[str]) -> str:
    return _first_few(list(machines))


def _first_few(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return ", ".join(texts[:NAMED]) + more


def _count(machines: int) -> str:
    return "1 machine" if machines == 1 else f"{machines} machines"
