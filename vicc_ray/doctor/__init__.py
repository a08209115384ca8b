"""Health checks of the machines of a cluster, without Ray: information on each node, and the verdicts on it."""
