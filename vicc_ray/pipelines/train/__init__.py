"""The runs on Ray Train: launcher, workers, loader, validation, progress."""
