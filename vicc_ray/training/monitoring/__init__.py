"""Statistics of epochs, their diagnostics, and the log of a run."""
