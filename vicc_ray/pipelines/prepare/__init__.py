"""Preparation: Ray Data decodes videos into a clip store."""
