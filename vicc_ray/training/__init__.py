"""Training core, without Ray: tasks, batches, optimizers, collectives, validation, monitoring and trackers."""
