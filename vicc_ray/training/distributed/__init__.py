"""Collectives over the workers of a run, and what is built on them."""
