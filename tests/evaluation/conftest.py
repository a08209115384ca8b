"""Fixtures of a finished run and its clip store."""

from tests.finished_run import run_dir, store

__all__ = ["run_dir", "store"]
