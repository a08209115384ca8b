"""Searches for the best settings: what is tried, what was found, how it is told. Ray comes in above."""
