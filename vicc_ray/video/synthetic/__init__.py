"""Synthetic action videos whose classes differ only in motion."""
