"""Held-out videos and their retrieval scores while a run goes on."""
