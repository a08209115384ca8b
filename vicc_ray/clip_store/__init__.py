"""Clip store: compressed RGB and optical flow, one row per video, and the training clips cut from them."""
