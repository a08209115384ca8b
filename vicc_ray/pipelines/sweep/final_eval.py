"""The runs that judge what a search has found: fresh seeds, all training videos, scored on the test videos."""

from __future__ import annotations

import math
from pathlib import Path

from vicc_ray.config.loader import dump_config
from vicc_ray.errors import UserError
from vicc_ray.evaluation.results_io import RecallRows, read_result
from vicc_ray.evaluation.retrieval_results import latest_network
from vicc_ray.pipelines.inference.evaluate import evaluate
from vicc_ray.sweep.results import BEST, DEFAULT, FinalEval
from vicc_ray.sweep.sweep_dir import SweepDir
from vicc_ray.sweep.trial import SCORED, Trial, TrialDir
from vicc_ray.sweep.trial_config import Sweep
from vicc_ray.utils.fs import atomic_write


class FinalRuns:
    """The :class:`~vicc_ray.pipelines.sweep.tuner.TrialSource` of the end: the best setting and the default one."""

    def __init__(self, plan: Sweep, folder: SweepDir, best: Trial | None) -> None:
        self.plan, self.folder = plan, folder
        self.number = 0 if best is None else best.number
        settings = {} if best is None else {BEST: dict(best.values), DEFAULT: {}}
        if best is not None and dict(best.values) == plan.default:
            del settings[BEST]
        self.settings = settings
        # Runs of one seed share a stage 1, so those that are made at the same time are of other seeds.
        self.runs = [(name, seed) for name in settings for seed in range(plan.settings.final_eval.num_seeds)]
        self.waiting = [run for run in self.runs if self._score(*run) is None]
        self.failures: list[str] = []
        self.trained = len(self.runs) - len(self.waiting)

    @property
    def progress(self) -> str:
        """How far they are, in words."""
        if self.trained < len(self.runs):
            return f"runs with fresh seeds: {self.trained} of {len(self.runs)} trained"
        scored = sum(self._score(*run) is not None for run in self.runs)
        return f"runs with fresh seeds: {scored} of {len(self.runs)} scored on the test videos"

    @property
    def remaining(self) -> int:
        """Runs that have no score yet and were not handed out."""
        return len(self.waiting)

    def next(self) -> tuple[tuple[str, int], Path] | None:
        """The next run."""
        if not self.waiting:
            return None
        name, seed = self.waiting.pop(0)
        folder = self._folder(name, seed)
        config = self.plan.final_run(self.settings[name], f"{self.plan.settings.name}-{name}-{seed}", seed)
        atomic_write(folder.config_file, dump_config(config))
        return (name, seed), folder.path

    def score(self, name: tuple[str, int], epoch: int, recall_at_1: float) -> bool:
        """None of them ends early."""
        return False

    def end(self, name: tuple[str, int], failure: str | None) -> None:
        """Keep why one failed."""
        self.trained += 1
        if failure:
            self.failures.append(f"{name[0]}, seed {name[1]}: {failure}")

    def results(self, store: str) -> list[FinalEval]:
        """Of each setting, the R@1 on the test videos of each seed; none of a setting where R@1 tells nothing.

        They are computed here, after the training: all CPUs and GPUs are free for it, and Ray Data within a trial of
        Tune would be confined to what the trial had reserved.

        Raises:
            UserError: runs failed.
        """
        if self.failures:
            raise UserError(f"runs with the found settings failed: {'; '.join(self.failures)}")
        for run in self.runs:
            if self._score(*run) is None:
                evaluate(self._folder(*run).run.path, store, progress=False)
        scores = {name: [self._score(name, seed) for of, seed in self.runs if of == name] for name in self.settings}
        told = {
            name: [score for score in found if score is not None and math.isfinite(score)]
            for name, found in scores.items()
        }
        return [FinalEval(name, found) for name, found in told.items() if found]

    def _score(self, name: str, seed: int) -> float | None:
        return score_on_test_videos(self._folder(name, seed))

    def _folder(self, name: str, seed: int) -> TrialDir:
        """With more trials another one may be the best: its runs are others."""
        return self.folder.final_run(f"{name}-{self.number:04d}" if name == BEST else name, seed)


def score_on_test_videos(folder: TrialDir) -> float | None:
    """R@1 on the test videos of the RGB network that was trained last; None before it has been evaluated, NaN where R@1
    would be the same whatever the network is."""
    result = read_result(folder.run.path / "evaluation", RecallRows)
    if result is None:
        return None
    rows = {row["key"]: row for row in result["rows"]}
    last = latest_network(list(rows), SCORED)
    if last is None:
        return None
    share = rows[last]["recall"]["1"]
    return math.nan if share is None else float(share)
