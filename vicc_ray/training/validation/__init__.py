"""Validation during training: the videos, and their retrieval scores."""
