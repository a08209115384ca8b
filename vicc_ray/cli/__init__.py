"""Command-line interface ``vicc-ray``: one command per task, which loads settings and calls one pipeline."""
