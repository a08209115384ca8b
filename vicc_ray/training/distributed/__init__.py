"""Collectives over the workers of a run, and the gradient and batch norm built on them."""
