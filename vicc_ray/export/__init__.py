"""Trained networks for use: loaded, exported, described."""
