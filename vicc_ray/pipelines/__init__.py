"""The pipelines: what runs on Ray."""

import os

# Ray reads it once, when it is imported, and these modules import it. Both lines come by the dozen in a healthy sweep:
# processes are kept on purpose (cluster.session.WARM_PROCESSES), and a trial that is stopped takes its workers with it. A
# machine or a worker that a run loses is told by the run itself.
os.environ.setdefault(
    "RAY_DEDUP_LOGS_SKIP_REGEX",
    "worker processes have been started on node|A worker died or was killed while executing a task",
)
