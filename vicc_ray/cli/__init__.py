"""The ``vicc-ray`` command: one command a task; each loads its settings and calls one pipeline."""
