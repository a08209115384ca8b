"""Sharded preparation without Ray: the plan of shards, the work of one task, and when a run must stop."""
