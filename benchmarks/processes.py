"""CPU time and memory of the processes of a Ray session, sampled from outside while a block runs."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np
import ray  # puts its bundled psutil on sys.path

# isort: split
import psutil

MIB = 2**20
SYSTEM = ("raylet", "gcs_server")


@dataclass
class Usage:
    """Peak figures of the driver and its descendants; other processes on the machine do not count."""

    cpu_s: dict[int, float] = field(default_factory=dict)
    """CPU time by process id, without the driver."""
    rss_mib: dict[str, float] = field(default_factory=dict)
    """Resident memory of the largest process of a kind (driver, worker, raylet, gcs_server)."""
    own_mib: dict[str, float] = field(default_factory=dict)
    """Memory without pages shared with others: libraries, and the object store."""

    spent: list[tuple[float, float]] = field(default_factory=list)
    """Time of each sample, and the sum of ``cpu_s`` at that time."""

    def cpu_between(self, begin: float, end: float) -> float:
        """CPU seconds of the driver's descendants between two values of time.time()."""
        times, sums = zip(*self.spent, strict=True)
        return float(np.interp(end, times, sums) - np.interp(begin, times, sums))

    def sample(self) -> None:
        """Record the current figures."""
        driver = psutil.Process()
        for process in [driver, *driver.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                self._record(process, "driver" if process == driver else _kind(process))
        self.spent.append((time.time(), sum(self.cpu_s.values())))

    def _record(self, process: psutil.Process, kind: str) -> None:
        memory, times = process.memory_info(), process.cpu_times()
        if kind != "driver":
            self.cpu_s[process.pid] = max(self.cpu_s.get(process.pid, 0.0), times.user + times.system)
        private = memory.rss - memory.shared
        for peaks, value in ((self.rss_mib, memory.rss), (self.own_mib, private)):
            peaks[kind] = round(max(peaks.get(kind, 0.0), value / MIB), 1)


def _kind(process: psutil.Process) -> str:
    name = process.name()
    if name in SYSTEM:
        return name
    command = " ".join(process.cmdline()[:2])
    return "worker" if name.startswith("ray::") or command.startswith("ray::") else "other"


def object_store() -> dict[str, float]:
    """MiB in the object store of this process's session, and MiB spilled so far."""
    here = ray.get_runtime_context().gcs_address  # explicit: the default is the machine's newest session
    text = ray._private.internal_api.memory_summary(address=here, stats_only=True)
    used, spilled = (re.search(p, text) for p in (r"Plasma memory usage (\d+) MiB", r"Spilled (\d+) MiB"))
    return {"object_store": float(used[1]) if used else 0.0, "spilled": float(spilled[1]) if spilled else 0.0}


@contextmanager
def watched(*also: Callable[[], None], every_s: float = 0.25) -> Iterator[Usage]:
    """Sample a :class:`Usage` while the block runs, and call ``also`` each time."""
    usage, stop = Usage(), threading.Event()

    def watch() -> None:
        while not stop.wait(every_s):
            for sample in (usage.sample, *also):
                sample()

    with ThreadPoolExecutor(max_workers=1) as pool:
        watching = pool.submit(watch)
        try:
            yield usage
        finally:
            stop.set()
        watching.result()  # raises the thread's error, so that partial figures do not count
