"""Final evaluation of a sweep: runs on fresh seeds and all training videos, scored on the test videos."""

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
    """Source of the final runs (a :class:`~vicc_ray.pipelines.sweep.tuner.TrialSource`): best and default settings."""

    def __init__(self, plan: Sweep, folder: SweepDir, best: Trial | None) -> None:
        self.plan, self.folder = plan, folder
        self.number = 0 if best is None else best.number
        settings = {} if best is None else {BEST: dict(best.values), DEFAULT: {}}
        if best is not None and dict(best.values) == plan.default:
            del settings[BEST]
        self.settings = settings
        # Runs of one seed share a stage 1, so neighbors in this list, which run concurrently, differ in their seed.
        self.runs = [(name, seed) for name in settings for seed in range(plan.settings.final_eval.num_seeds)]
        self.waiting = [run for run in self.runs if self._score(*run) is None]
        self.failures: list[str] = []
        self.trained = len(self.runs) - len(self.waiting)

    @property
    def progress(self) -> str:
        """Progress as text."""
        if self.trained < len(self.runs):
            return f"runs with fresh seeds: {self.trained} of {len(self.runs)} trained"
        scored = sum(self._score(*run) is not None for run in self.runs)
        return f"runs with fresh seeds: {scored} of {len(self.runs)} scored on the test videos"

    @property
    def remaining(self) -> int:
        """Runs without a score that have not been started."""
        return len(self.waiting)

    def next(self) -> tuple[tuple[str, int], Path] | None:
        """Next run, with its configuration written; None if there is none."""
        if not self.waiting:
            return None
        name, seed = self.waiting.pop(0)
        folder = self._folder(name, seed)
        config = self.plan.final_run(self.settings[name], f"{self.plan.settings.name}-{name}-{seed}", seed)
        atomic_write(folder.config_file, dump_config(config))
        return (name, seed), folder.path

    def score(self, name: tuple[str, int], epoch: int, recall_at_1: float) -> bool:
        """Never prune."""
        return False

    def end(self, name: tuple[str, int], failure: str | None) -> None:
        """Record a failure."""
        self.trained += 1
        if failure:
            self.failures.append(f"{name[0]}, seed {name[1]}: {failure}")

    def results(self, store: str) -> list[FinalEval]:
        """R@1 on the test videos by setting, one value per seed; settings with an undefined R@1 are left out.

        Evaluation runs here, after all training: all CPUs and GPUs are free, while Ray Data inside a Tune trial would
        be confined to the trial's placement group.

        Raises:
            UserError: runs failed.
        """
        if self.failures:
            raise UserError(f"final runs failed: {'; '.join(self.failures)}")
        for run in self.runs:
            if self._score(*run) is None:
                evaluate(self._folder(*run).run.path, store, progress=False)
        scores = {name: [self._score(name, seed) for of, seed in self.runs if of == name] for name in self.settings}
        finite = {
            name: [score for score in of_seeds if score is not None and math.isfinite(score)]
            for name, of_seeds in scores.items()
        }
        return [FinalEval(name, recalls) for name, recalls in finite.items() if recalls]

    def _score(self, name: str, seed: int) -> float | None:
        return score_on_test_videos(self._folder(name, seed))

    def _folder(self, name: str, seed: int) -> TrialDir:
        """Folder of a run. It names the best trial, since more trials may change which one is best."""
        return self.folder.final_run(f"{name}-{self.number:04d}" if name == BEST else name, seed)


def score_on_test_videos(folder: TrialDir) -> float | None:
    """R@1 on the test videos of the last RGB network; None before evaluation, NaN where no network can change R@1."""
    result = read_result(folder.run.path / "evaluation", RecallRows)
    if result is None:
        return None
    rows = {row["key"]: row for row in result["rows"]}
    last = latest_network(list(rows), SCORED)
    if last is None:
        return None
    recall = rows[last]["recall"]["1"]
    return math.nan if recall is None else float(recall)
