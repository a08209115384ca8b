"""Whole files to the processes of pytest-xdist, as ``--dist loadfile``, when one of the processes dies.

Its own scheduler then waits for ever, or ends in a KeyError: it asks a new process to run what it has not collected
yet, hands out files of which nothing is left, and leaves a process with a last test that runs only when told that it is
the last.
"""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController


class CrashTolerantFiles(LoadFileScheduling):
    """A test that ends its process has failed; the others of its file run in a new one, after all other files."""

    def remove_node(self, node: WorkerController) -> str | None:
        """The test that a process ran when it died; what it had still to do waits for another."""
        files = self.assigned_work.pop(node)
        left = [test for tests in files.values() for test, done in tests.items() if not done]
        for file, tests in files.items():
            open_tests = {test: False for test, done in tests.items() if not done and test != left[0]}
            if open_tests:
                self.workqueue[file] = open_tests
        for other in self.nodes:
            self._reschedule(other)
        return left[0] if left else None

    def _reschedule(self, node: WorkerController) -> None:
        """Give a process files until it has two tests: the last it knows of waits for another, or for the end."""
        if node not in self.registered_collections:  # it is new, and asks again when it has collected
            return
        super()._reschedule(node)
        while not node.shutting_down and self._pending_of(self.assigned_work[node]) < 2:
            super()._reschedule(node)
