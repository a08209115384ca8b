"""Which samples form a global batch, and the batches of clips made of them."""
