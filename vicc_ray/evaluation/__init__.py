"""Evaluation of trained networks: features of whole videos, retrieval, linear probes, classification."""
