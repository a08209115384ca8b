"""Hyperparameter sweeps without Ray: search space, Optuna study, trials, results, the folder of a sweep."""
