"""The ViCC method, one part of the paper per file, and the objectives built from the parts."""
