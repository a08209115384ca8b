"""Sharded preparation, without Ray: the shard plan, the work of one task, and the failure limit of a run."""
