"""Whether machines are fit for a run: what each tells of itself, and what follows from it. No Ray here."""
