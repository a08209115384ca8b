"""Figures of epochs, what they diagnose, and the log of a run."""
