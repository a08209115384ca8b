"""Run logger: metrics of steps, statistics and diagnostics of epochs. The first worker writes it.

It writes JSON lines in the run's folder and feeds the trackers of ``train.trackers``.
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

TRACKER_INTERVAL = 10
"""Steps between two points of step metrics in the trackers; metrics.jsonl has every step."""
POSITION = ("step", "epoch", "phase", "stage", "stream", "workers", "samples")
"""Fields that locate a line; all others are metrics."""
Diagnose = Callable[[Phase, Sequence[Mapping[str, Any]]], list[Diagnostic]]


class RunLogger:
    """Writer of a run's logs. Opening it drops lines of steps after ``resumed_at``, which the run repeats.

    Args:
        resumed_at: step of the checkpoint that the run resumes from; 0 at its start.
        start_from: initial checkpoint, of another run, if there is one.
        diagnose: diagnostics of a phase from the statistics of its epochs; by default those of pretraining.
    """

    def __init__(
        self,
        folder: RunDir,
        config: Config,
        resumed_at: int,
        start_from: Path | None = None,
        diagnose: Diagnose | None = None,
    ) -> None:
        self._folder, self._config, self._start_from = folder, config, start_from
        self._diagnose = diagnose or self._of_pretraining
        files = {"step": folder.metrics_file, "epoch": folder.epochs_file}
        known = {
            series: max([line["step"] for line in read_lines(file, "step")], default=0)
            for series, file in files.items()
        }
        folder.rewind(resumed_at)
        self._trackers = Trackers(folder.path, config, resumed_at, known)

    def step(self, line: Mapping[str, Any]) -> None:
        """Log a step: its position (``step``, ``epoch``, ``phase``, ``stage``, ``stream``) and its metrics."""
        self._write(self._folder.metrics_file, line)
        if line["step"] % TRACKER_INTERVAL == 0:
            self._trackers.log("step", line["step"], _figures(line))

    def start_phase(self, phase: Phase, step: int) -> list[Diagnostic]:
        """Warn of a stage-2 phase whose networks collapsed or did not learn; once, however often the run resumes.

        Args:
            step: steps completed.
        """
        if phase.stage != 2:
            return []
        earlier = [*_epochs_of_initial_run(self._start_from), *read_lines(self._folder.epochs_file, "phase")]
        earlier = [line for line in earlier if line["phase"] != phase.name]
        streams = STREAMS if phase.cross_stream else (phase.stream,)
        problems = diagnose_initial_networks(earlier, streams, self._config, read_lines(self._folder.validation_file))
        warned = {warning.get("kind") for warning in self._of_phase(self._folder.warnings_file, phase)}
        self._warn([problem for problem in problems if problem.kind not in warned], phase, step, phase.first_epoch)
        return problems

    def end_epoch(self, phase: Phase, step: int, epoch: int, figures: Mapping[str, float]) -> list[Diagnostic]:
        """Log an epoch, and its new diagnostics to ``warnings.jsonl``.

        Args:
            step: steps completed.
            epoch: epochs completed, this one included.
            figures: see :meth:`vicc_ray.training.monitoring.epoch_stats.EpochStats.summary`.

        Returns:
            all diagnostics of the phase, new or not.
        """
        history = self._of_phase(self._folder.epochs_file, phase)
        prototypes = self._config.of_stage(phase.stage).method.num_prototypes
        line = {
            **{"step": step, "epoch": epoch, "phase": phase.name, "stage": phase.stage, "stream": phase.stream},
            **figures,
            **({"ln_k": math.log(prototypes)} if "assignment_entropy" in figures else {}),
        }
        problems = self._diagnose(phase, [*history, line])
        before = history[-1].get("problems", []) if history else []
        self._warn([problem for problem in problems if problem.kind not in before], phase, step, epoch)
        self._write(self._folder.epochs_file, {**line, "problems": [problem.kind for problem in problems]})
        self._trackers.log("epoch", step, _figures(line))
        self._forward_validation()
        self._warn(self._tracker_problems(), phase, step, epoch)
        return problems

    def close(self, phase: Phase, step: int) -> None:
        """Flush at the end of the run or before a restart."""
        self._forward_validation()
        self._trackers.close()
        self._warn(self._tracker_problems(), phase, step, phase.last_epoch)

    def _of_pretraining(self, phase: Phase, epochs: Sequence[Mapping[str, Any]]) -> list[Diagnostic]:
        return diagnose_phase(epochs, self._config.of_stage(phase.stage))

    def _of_phase(self, file: Path, phase: Phase) -> list[dict[str, Any]]:
        return [line for line in read_lines(file, "phase") if line["phase"] == phase.name]

    def _warn(self, problems: Iterable[Diagnostic], phase: Phase, step: int, epoch: int) -> None:
        for problem in problems:
            position = {"step": step, "epoch": epoch, "phase": phase.name}
            self._write(self._folder.warnings_file, {**position, "kind": problem.kind, "text": problem.text})

    def _tracker_problems(self) -> list[Diagnostic]:
        return [Diagnostic(f"tracker_{name}", text) for name, text in self._trackers.failures().items()]

    def _forward_validation(self) -> None:
        """Send new validation results, which another process writes, to the trackers.

        The number sent is kept in the folder, so that no result is sent twice.
        """
        lines, counter = (
            read_lines(self._folder.validation_file, "step", "stream"),
            self._folder.path / "trackers" / "validation",
        )
        sent = _read_count(counter)
        for line in lines[sent:]:
            self._trackers.log(f"held_out/{line['stream']}", line["step"], _figures(line))
        atomic_write(counter, str(len(lines)))

    def _write(self, file: Path, line: Mapping[str, Any]) -> None:
        append_line(file, {name: _for_json(value) for name, value in line.items()})


def _read_count(file: Path) -> int:
    """Number in a small file; 0 if the file is missing."""
    try:
        content = read_bounded(file, 9)
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except (OSError, ValueError):
        content = b""
    if not content.isdigit():
        raise UserError(f"{file}: not a number; remove it, and all validation results go to the trackers again")
    return int(content)


def _epochs_of_initial_run(checkpoint: Path | None) -> list[dict[str, Any]]:
    """Epochs of the initial checkpoint's run, up to the checkpoint; none where they are not recorded."""
    if checkpoint is None:
        return []
    step = read_state(checkpoint)["step"]
    return [
        line
        for line in read_lines(RunDir(checkpoint.parent.parent).epochs_file, "step", "phase")
        if line["step"] <= step
    ]


def _figures(line: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(v) for name, v in line.items() if name not in POSITION and isinstance(v, (int, float))}


def _for_json(value: Any) -> Any:
    """Value, or None for a non-finite float, which JSON lacks."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
