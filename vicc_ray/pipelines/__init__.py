"""Ray wiring: the only package that imports Ray."""

import os

# Ray reads the variable once, at import. Both messages are frequent in a healthy sweep: idle worker processes are kept
# on purpose (cluster.session.IDLE_WORKERS), and a pruned trial takes its workers with it. Runs report lost nodes.
os.environ.setdefault(
    "RAY_DEDUP_LOGS_SKIP_REGEX",
    "worker processes have been started on node|A worker died or was killed while executing a task",
)
