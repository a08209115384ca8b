"""Convolutions computed in the way that is fastest on a CPU, with the same weights and output."""
