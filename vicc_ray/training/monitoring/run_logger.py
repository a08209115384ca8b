"""What a run writes down of itself: its steps, the figures and problems of its epochs; the first worker keeps it.

JSON lines in the run's folder, always, and the trackers that ``train.trackers`` names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vicc_ray.config import Config
from vicc_ray.errors import UserError
from vicc_ray.runs.checkpoint_state import read_state
from vicc_ray.runs.run_dir import RunDir
from vicc_ray.runs.schedule import STREAMS, Phase
from vicc_ray.training.monitoring.diagnostics import Diagnostic, diagnose_initial_networks, diagnose_phase
from vicc_ray.training.trackers import Trackers
from vicc_ray.utils.fs import atomic_write
from vicc_ray.utils.json_file import read_bounded
from vicc_ray.utils.jsonl import append_line, read_lines

EVERY = 10
"""Steps between two points of a step's figures in the trackers; metrics.jsonl has every step."""
PLACE = ("step", "epoch", "phase", "stage", "stream", "workers")
"""What says where a line belongs; the rest are figures."""
Problems = Callable[[Phase, Sequence[Mapping[str, Any]]], list[Diagnostic]]


class RunLogger:
    """Opens a run's files for writing on; lines of steps after ``resumed_at`` are dropped, since they are made again.

    Args:
        resumed_at: step of the checkpoint that the run goes on from; 0 at its start.
        start_from: the checkpoint of another run that this one took its weights from, if it did.
        problems: diagnostics of a phase from the figures of its epochs so far; by default those of pretraining.
    """

    def __init__(
        self,
        folder: RunDir,
        config: Config,
        resumed_at: int,
        start_from: Path | None = None,
        problems: Problems | None = None,
    ) -> None:
        self._folder, self._config, self._start_from = folder, config, start_from
        self._problems = problems or self._of_pretraining
        files = {"step": folder.metrics_file, "epoch": folder.epochs_file}
        known = {
            series: max([line["step"] for line in read_lines(file, "step")], default=0)
            for series, file in files.items()
        }
        folder.rewind(resumed_at)
        self._trackers = Trackers(folder.path, config, resumed_at, known)

    def step(self, line: Mapping[str, Any]) -> None:
        """Write down a step: its place (``step``, ``epoch``, ``phase``, ``stage``, ``stream``) and its figures."""
        self._write(self._folder.metrics_file, line)
        if line["step"] % EVERY == 0:
            self._trackers.log("step", line["step"], _figures(line))

    def begin_phase(self, phase: Phase, step: int) -> list[Diagnostic]:
        """Warn of a stage-2 phase whose networks did not learn in the phases before; once, however often it is resumed.

        Args:
            step: steps made so far.
        """
        if phase.stage != 2:
            return []
        earlier = [*_epochs_behind(self._start_from), *read_lines(self._folder.epochs_file, "phase")]
        earlier = [line for line in earlier if line["phase"] != phase.name]
        streams = STREAMS if phase.cross_stream else (phase.stream,)
        found = diagnose_initial_networks(earlier, streams, self._config, read_lines(self._folder.validation_file))
        told = {warning.get("kind") for warning in self._of_phase(self._folder.warnings_file, phase)}
        self._warn([problem for problem in found if problem.kind not in told], phase, step, phase.first_epoch)
        return found

    def end_epoch(self, phase: Phase, step: int, epoch: int, figures: Mapping[str, float]) -> list[Diagnostic]:
        """Write down an epoch; what is newly wrong goes to ``warnings.jsonl`` too.

        Args:
            step: steps made so far, ``epoch``: epochs made so far, this one included.
            figures: see :meth:`vicc_ray.training.monitoring.epoch_stats.EpochStats.summary`.

        Returns:
            all that is wrong now.
        """
        history = self._of_phase(self._folder.epochs_file, phase)
        prototypes = self._config.of_stage(phase.stage).method.num_prototypes
        line = {
            **{"step": step, "epoch": epoch, "phase": phase.name, "stage": phase.stage, "stream": phase.stream},
            **figures,
            **({"ln_k": math.log(prototypes)} if "assignment_entropy" in figures else {}),
        }
        found = self._problems(phase, [*history, line])
        before = history[-1].get("problems", []) if history else []
        self._warn([problem for problem in found if problem.kind not in before], phase, step, epoch)
        self._write(self._folder.epochs_file, {**line, "problems": [problem.kind for problem in found]})
        self._trackers.log("epoch", step, _figures(line))
        self._pass_on_evaluations()
        self._warn(self._tracker_problems(), phase, step, epoch)
        return found

    def close(self, phase: Phase, step: int) -> None:
        """Write down what is left at the end of the run, or before it is begun again."""
        self._pass_on_evaluations()
        self._trackers.close()
        self._warn(self._tracker_problems(), phase, step, phase.last_epoch)

    def _of_pretraining(self, phase: Phase, epochs: Sequence[Mapping[str, Any]]) -> list[Diagnostic]:
        return diagnose_phase(epochs, self._config.of_stage(phase.stage))

    def _of_phase(self, file: Path, phase: Phase) -> list[dict[str, Any]]:
        return [line for line in read_lines(file, "phase") if line["phase"] == phase.name]

    def _warn(self, problems: Iterable[Diagnostic], phase: Phase, step: int, epoch: int) -> None:
        for problem in problems:
            place = {"step": step, "epoch": epoch, "phase": phase.name}
            self._write(self._folder.warnings_file, {**place, "kind": problem.kind, "text": problem.text})

    def _tracker_problems(self) -> list[Diagnostic]:
        return [Diagnostic(f"tracker_{name}", text) for name, text in self._trackers.failures().items()]

    def _pass_on_evaluations(self) -> None:
        """Held-out checks are made beside the training, by another process: what is new of them goes to the trackers.

        How many were passed on is kept in the folder, so that none comes twice.
        """
        lines, counter = (
            read_lines(self._folder.validation_file, "step", "stream"),
            self._folder.path / "trackers" / "evaluations",
        )
        done = _count(counter)
        for line in lines[done:]:
            self._trackers.log(f"held_out/{line['stream']}", line["step"], _figures(line))
        atomic_write(counter, str(len(lines)))

    def _write(self, file: Path, line: Mapping[str, Any]) -> None:
        append_line(file, {name: _for_json(value) for name, value in line.items()})


def _count(file: Path) -> int:
    """The number in a small file; 0 where there is none."""
    try:
        content = read_bounded(file, 9)
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except (OSError, ValueError):
        content = b""
    if not content.isdigit():
        raise UserError(f"{file}: no number; remove it, and all evaluations go to the trackers once more")
    return int(content)


def _epochs_behind(checkpoint: Path | None) -> list[dict[str, Any]]:
    """The epochs of the run that made a checkpoint, up to it; none where that run's folder does not tell."""
    if checkpoint is None:
        return []
    step = read_state(checkpoint)["step"]
    return [
        line
        for line in read_lines(RunDir(checkpoint.parent.parent).epochs_file, "step", "phase")
        if line["step"] <= step
    ]


def _figures(line: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(v) for name, v in line.items() if name not in PLACE and isinstance(v, (int, float))}


def _for_json(value: Any) -> Any:
    """The value, or None for a float that JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
