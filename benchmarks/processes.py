"""What the processes of a run of Ray cost, looked at from outside while a block runs: processor time and memory."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np
import ray  # puts its own psutil where Python looks

# isort: split
import psutil

MIB = 2**20
SYSTEM = ("raylet", "gcs_server")


@dataclass
class Seen:
    """The most that was seen of the driver and of the processes below it; other runs on the machine do not count."""

    cpu_s: dict[int, float] = field(default_factory=dict)
    """Processor time by process id; the driver's own is not among them."""
    rss_mib: dict[str, float] = field(default_factory=dict)
    """Resident memory of the largest process of a kind (driver, worker, raylet, gcs_server)."""
    own_mib: dict[str, float] = field(default_factory=dict)
    """The same without pages that are shared with others: libraries, and the object store."""

    spent: list[tuple[float, float]] = field(default_factory=list)
    """Time of each look, and the sum of ``cpu_s`` then."""

    def cpu_between(self, begin: float, end: float) -> float:
        """Processor seconds of the processes below the driver between two times, as time.time() tells them."""
        times, sums = zip(*self.spent, strict=True)
        return float(np.interp(end, times, sums) - np.interp(begin, times, sums))

    def look(self) -> None:
        """Take the figures of this moment."""
        driver = psutil.Process()
        for process in [driver, *driver.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                self._take(process, "driver" if process == driver else _kind(process))
        self.spent.append((time.time(), sum(self.cpu_s.values())))

    def _take(self, process: psutil.Process, kind: str) -> None:
        memory, times = process.memory_info(), process.cpu_times()
        if kind != "driver":
            self.cpu_s[process.pid] = max(self.cpu_s.get(process.pid, 0.0), times.user + times.system)
        own = memory.rss - memory.shared
        for most, value in ((self.rss_mib, memory.rss), (self.own_mib, own)):
            most[kind] = round(max(most.get(kind, 0.0), value / MIB), 1)


def _kind(process: psutil.Process) -> str:
    name = process.name()
    if name in SYSTEM:
        return name
    command = " ".join(process.cmdline()[:2])
    return "worker" if name.startswith("ray::") or command.startswith("ray::") else "other"


def object_store() -> dict[str, float]:
    """MiB that lie in the object store of the session that this process is in, and MiB spilled so far."""
    here = ray.get_runtime_context().gcs_address  # not told, Ray asks the newest session of the machine
    text = ray._private.internal_api.memory_summary(address=here, stats_only=True)
    used, spilled = (re.search(p, text) for p in (r"Plasma memory usage (\d+) MiB", r"Spilled (\d+) MiB"))
    return {"object_store": float(used[1]) if used else 0.0, "spilled": float(spilled[1]) if spilled else 0.0}


@contextmanager
def watched(*also: Callable[[], None], every_s: float = 0.25) -> Iterator[Seen]:
    """Fill in a :class:`Seen` while the block runs, and call ``also`` each time."""
    seen, stop = Seen(), threading.Event()

    def watch() -> None:
        while not stop.wait(every_s):
            for look in (seen.look, *also):
                look()

    with ThreadPoolExecutor(max_workers=1) as pool:
        watching = pool.submit(watch)
        try:
            yield seen
        finally:
            stop.set()
        watching.result()  # its error, if it had one: half of the figures must not pass for all
