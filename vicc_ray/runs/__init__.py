"""The folder of a run: settings, restarts, the schedule of phases, and checkpoints."""
