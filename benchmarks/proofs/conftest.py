"""Tests that take minutes each, on what the tests of the pipelines use: ``make proofs``."""

from __future__ import annotations

from tests.pipelines.conftest import session, store

__all__ = ["session", "store"]
