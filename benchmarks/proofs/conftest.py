"""Fixtures of the slow tests (minutes each, ``make proofs``), shared with the tests of the pipelines."""

from __future__ import annotations

from tests.pipelines.conftest import session, store

__all__ = ["session", "store"]
