"""Self-supervised pretraining of video networks by cross-stream prototypical contrasting, on Ray."""

__version__ = "0.1.0"
