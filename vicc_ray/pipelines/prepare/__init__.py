"""Videos to a clip store, by Ray Data."""
