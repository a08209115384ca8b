"""The pipelines: what runs on Ray."""

import os

# Ray reads the variable once, when it is imported, and the modules below import it. Both messages come by the dozen in
# a healthy sweep: idle processes are kept on purpose (cluster.session.WARM_PROCESSES), and a stopped trial takes its
# workers with it. The run itself reports a lost node or worker.
os.environ.setdefault(
    "RAY_DEDUP_LOGS_SKIP_REGEX",
    "worker processes have been started on node|A worker died or was killed while executing a task",
)
