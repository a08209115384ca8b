"""Trained networks for use elsewhere: loading, export and model cards."""
