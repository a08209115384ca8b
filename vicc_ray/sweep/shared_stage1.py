"""One stage 1 for all trials that do not differ in it, found by what it depends on."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from vicc_ray.clip_store.fingerprint import videos_fingerprint
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config, ScheduleConfig, Stage2Config
from vicc_ray.runs.run_dir import FREE_TO_CHANGE
from vicc_ray.runs.schedule import build_phases

NOT_YET = {
    "cycles",
    "epochs_per_phase",
    "stage2_max_epochs",
    "stage2_cosine_epochs",
    "final_flow_phase",
    "cross_stream",
}
"""Settings of the schedule that stage 1 does not look at."""


def stage1_of(config: Config) -> Config | None:
    """The run of stage 1 that a run of ``config`` begins with; None if it has no stage 1 or nothing after it."""
    stages = {phase.stage for phase in build_phases(config.schedule)}
    if stages != {1, 2}:
        return None
    defaults = ScheduleConfig().model_dump(include=NOT_YET)
    schedule = config.schedule.model_copy(update={**defaults, "cycles": 0})
    return config.model_copy(update={"schedule": schedule, "stage2": Stage2Config(), "name": "stage 1"})


def stage1_key(config: Config, store: ClipStore) -> str:
    """Twelve hexadecimal digits, equal for runs whose stage 1 is the same to the bit."""
    kept: dict[str, Any] = {}
    for section, values in config.model_dump(mode="json").items():
        free = NOT_YET if section == "schedule" else FREE_TO_CHANGE.get(section, ())
        if free == "all" or section == "stage2":
            continue
        kept[section] = {k: v for k, v in values.items() if k not in free} if isinstance(values, dict) else values
    kept["videos"] = videos_fingerprint(store.entries, store.settings)
    return hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=6).hexdigest()
