"""Networks over stored videos, by Ray Data: features, predictions, retrieval."""
