"""A sweep that is defined in Python: temperature and Sinkhorn epsilon of the cross-stream stage.

    python examples/own_sweep.py demo/store own-sweep

The folder OUT then holds the page of the sweep, its Optuna study, and best.yaml, a recipe for `vicc-ray pretrain`.
"""

import sys
from pathlib import Path

from vicc_ray import SweepConfig, run_sweep

SETTINGS = {
    "recipe": "demo",
    "search_space": {
        "stage2.temperature": {"low": 0.05, "high": 0.4, "log": True},
        "stage2.sinkhorn_epsilon": {"choices": [0.03, 0.05, 0.1]},
    },
    "budget": {"trials": 4, "epochs": 10},
    "final_eval": {"num_seeds": 1},
}


def main(store: str, out: str, **changes: object) -> None:
    """Search, and print the best settings; ``changes`` replace entries of :data:`SETTINGS`."""
    summary = run_sweep(SweepConfig.model_validate({**SETTINGS, **changes}), store, Path(out))
    best = summary.best
    print(f"best of {len(summary.trials)} trials: R@1 {best.recall_at_1:.1%} with {best.values}")


if __name__ == "__main__":
    main(*sys.argv[1:])
