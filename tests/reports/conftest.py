"""A finished run and its clip store, for the tests of this folder."""

from tests.finished_run import run_dir, store

__all__ = ["run_dir", "store"]
