"""Verdicts on the machines of a cluster: a mark, the finding, and advice. Every finding names its machines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vicc_ray.doctor.node_info import NodeInfo

Mark = Literal["ok", "warn", "FAIL"]
LOW_DISK, LOW_MEMORY = 10 * 2**30, 2 * 2**30
"""Bytes under which there is a warning."""
CLOCKS_APART_S = 1.0
"""Seconds; what is newest in a shared folder is told by times."""
NAMED = 5
"""Machines that a finding names."""


@dataclass(frozen=True)
class Check:
    """One line of the doctor's report."""

    mark: Mark
    what: str
    found: str
    advice: str = ""
    """What to do; "" if the mark is ok."""


def check_folder(folder: str, wrote: Mapping[str, str], unseen: Mapping[str, Sequence[str]]) -> Check:
    """Of the folder for runs.

    Args:
        wrote: machine -> what went wrong as it wrote, "" if nothing.
        unseen: machine -> machines whose files it did not see, of those that wrote.
    """
    cannot = {machine: problem for machine, problem in wrote.items() if problem}
    blind = {
        machine: f"does not see what {_names(others)} wrote"
        for machine, others in unseen.items()
        if others and machine not in cannot
    }
    if cannot:
        also = f"; {_told(blind)}" if blind else ""
        advice = "mount it there, writable by this user: the same shared one on every machine"
        return Check("FAIL", "folder", f"{folder} cannot be written by {_told(cannot)}{also}", advice)
    if blind:
        advice = "it is another folder there: mount the same shared one (NFS, EFS, Filestore) on every machine"
        return Check("FAIL", "folder", f"{folder}: {_told(blind)}", advice)
    return Check("ok", "folder", f"{folder}: the same on {_count(len(wrote))}, and writable")


def check_store(store: str, problems: Mapping[str, str]) -> Check:
    """Of the clip store. ``problems``: machine -> why it cannot open it, "" if it can."""
    cannot = {machine: problem for machine, problem in problems.items() if problem}
    if cannot:
        advice = "give a path or an address that every machine can read"
        return Check("FAIL", "store", f"{store} cannot be opened by {_told(cannot)}", advice)
    return Check("ok", "store", f"{store}: opened on {_count(len(problems))}")


def check_versions(machines: Sequence[NodeInfo]) -> Check:
    """Of Python and packages, which must be the same everywhere."""
    differ = []
    for name in machines[0].versions:
        having = defaultdict(list)
        for machine in machines:
            having[machine.versions[name]].append(machine.name)
        if len(having) > 1:
            differ.append(f"{name} " + ", ".join(f"{found} on {_names(on)}" for found, on in having.items()))
    if differ:
        return Check("FAIL", "versions", "; ".join(differ), "install the same wheel and constraints on every machine")
    same = ", ".join(f"{name} {found}" for name, found in machines[0].versions.items())
    return Check("ok", "versions", same)


def check_gpus(machines: Sequence[NodeInfo]) -> Check:
    """Of the GPUs that drivers list, all of which torch must be able to use."""
    unusable = {
        machine.name: machine.gpus.problem or f"{machine.gpus.usable} of {len(machine.gpus.names)} usable"
        for machine in machines
        if machine.gpus.usable < len(machine.gpus.names)
    }
    if unusable:
        return Check(
            "FAIL", "GPUs", f"torch cannot use those of {_told(unusable)}", "install a newer NVIDIA driver there"
        )
    having = [machine for machine in machines if machine.gpus.names]
    if not having:
        return Check(
            "warn", "GPUs", "none: training runs on CPUs", "if there should be some: is the NVIDIA driver there?"
        )
    told = {machine.name: f"{len(machine.gpus.names)} x {machine.gpus.names[0]}" for machine in having}
    drivers = sorted({machine.gpus.driver for machine in having})
    return Check("ok", "GPUs", f"{_told(told)}; driver {', '.join(drivers)}")


def check_clocks(ahead: Mapping[str, float]) -> Check:
    """Of the clocks. ``ahead``: machine -> seconds by which its clock is ahead of the asking machine's."""
    if not ahead:
        return Check("warn", "clocks", "no machine told its time", "try again")
    apart = max(ahead.values()) - min(ahead.values())
    first, last = (min(ahead, key=ahead.__getitem__), max(ahead, key=ahead.__getitem__))
    if apart > CLOCKS_APART_S:
        found = f"{last} is {apart:.1f} s ahead of {first}"
        return Check("warn", "clocks", found, "let them be set by a time server: timedatectl set-ntp true")
    return Check("ok", "clocks", f"within {max(apart, 0.001):.3f} s")


def check_disk(machines: Sequence[NodeInfo]) -> Check:
    """Of the disk that Ray uses when its object store is full."""
    advice = "free some: what does not fit into the object store goes there"
    return _check_free("disk", {machine.name: machine.free_disk for machine in machines}, LOW_DISK, advice)


def check_memory(machines: Sequence[NodeInfo]) -> Check:
    """Of the memory that is free."""
    advice = "end other work there, or take larger machines"
    return _check_free("memory", {machine.name: machine.free_memory for machine in machines}, LOW_MEMORY, advice)


def check_token(machines: Sequence[NodeInfo]) -> Check:
    """Whether Ray asks for its token everywhere; on a machine alone it is less of a matter."""
    without = [machine.name for machine in machines if machine.auth != "token"]
    if not without:
        return Check("ok", "token", "on")
    mark: Mark = "FAIL" if len(machines) > 1 else "warn"
    found = f"off on {_names(without)}: whoever reaches Ray's ports can run programs there"
    return Check(mark, "token", found, "start Ray with RAY_AUTH_MODE=token and a file ~/.ray/auth_token")


def _check_free(what: str, free: Mapping[str, int], low: int, advice: str) -> Check:
    short = {name: f"{there / 2**30:.1f} GiB" for name, there in free.items() if there < low}
    if short:
        return Check("warn", what, f"little is free on {_told(short)}", advice)
    return Check("ok", what, f"{min(free.values()) / 2**30:.1f} GiB or more free on every machine")


def _told(of: Mapping[str, str]) -> str:
    """``machine (what)`` of the first few."""
    return _some([f"{machine} ({what})" for machine, what in of.items()])


def _names(machines: Iterable[str]) -> str:
    return _some(list(machines))


def _some(told: Sequence[str]) -> str:
    more = f" and {len(told) - NAMED} more" if len(told) > NAMED else ""
    return ", ".join(told[:NAMED]) + more


def _count(machines: int) -> str:
    return "1 machine" if machines == 1 else f"{machines} machines"
