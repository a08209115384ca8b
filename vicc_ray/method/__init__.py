"""The method, each part of the paper in a file, and the objectives made of them."""
