"""The clip store: compressed RGB and flow of videos, a row each, and the training clips cut from them."""
