"""Whole files to the processes of pytest-xdist, as ``--dist loadfile`` does, also when one of the processes dies.

xdist's own scheduler (3.8) then waits for ever, or ends in a KeyError: it runs the test that crashed once more, gives
files to a process that has not collected any yet, and files of which nothing is left, and leaves a new process with a
single test, which a process begins only when it knows the next.
"""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController


class CrashTolerantFiles(LoadFileScheduling):
    """A test that ends its process has failed; the rest of its file runs in another one, after the other files."""

    def remove_node(self, node: WorkerController) -> str | None:
        """Take a process out; the test that it ran, if it died of one."""
        files = self.assigned_work.pop(node)
        left = [test for tests in files.values() for test, done in tests.items() if not done]
        crashed = left[0] if left else None
        for file, tests in files.items():
            waiting = {test: False for test, done in tests.items() if not done and test != crashed}
            if waiting:
                self.workqueue[file] = waiting
        for other in self.nodes:
            self._reschedule(other)
        return crashed

    def _reschedule(self, node: WorkerController) -> None:
        """Give a process files until it has two tests, or none are left; a new one asks when it has collected."""
        if node not in self.registered_collections:
            return
        super()._reschedule(node)
        while not node.shutting_down and self._pending_of(self.assigned_work[node]) < 2:
            super()._reschedule(node)
