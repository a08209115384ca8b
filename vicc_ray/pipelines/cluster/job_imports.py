"""Where Ray's workers import from: what this process imports from, and not the folder that it was started in.

Ray puts the current folder first in the search path of every worker. Whoever works on other people's videos stands in
their folder, and a ``queue.py`` in it would be run.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ray.job_config import JobConfig


class JobImports(JobConfig):
    """The job of this process, for ``ray.init(job_config=...)``."""

    def _serialize(self) -> str:
        # Not public, but the only place after ray.init has added the folder; a test on real workers watches over it.
        here = Path.cwd()
        if here not in [Path(path).absolute() for path in sys.path]:
            self._py_driver_sys_path = [path for path in self._py_driver_sys_path if Path(path) != here]
        return super()._serialize()
