"""Global batch sampling, and the batches of clips built from it."""
