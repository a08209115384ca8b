"""The stage 1 run that trials share if their stage 1 settings are equal, identified by a hash of these."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from vicc_ray.clip_store.fingerprint import videos_fingerprint
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config, ScheduleConfig, Stage2Config
from vicc_ray.runs.run_dir import free_settings_of
from vicc_ray.runs.schedule import build_phases

STAGE2_ONLY = {
    "cycles",
    "epochs_per_phase",
    "stage2_max_epochs",
    "stage2_cosine_epochs",
    "final_flow_phase",
    "cross_stream",
}
"""Settings of the schedule that do not affect stage 1."""


def stage1_of(config: Config) -> Config | None:
    """Configuration of the stage 1 that a run of ``config`` starts with; None if it has only one stage."""
    stages = {phase.stage for phase in build_phases(config.schedule)}
    if stages != {1, 2}:
        return None
    defaults = ScheduleConfig().model_dump(include=STAGE2_ONLY)
    schedule = config.schedule.model_copy(update={**defaults, "cycles": 0})
    return config.model_copy(update={"schedule": schedule, "stage2": Stage2Config(), "name": "stage 1"})


def stage1_key(config: Config, store: ClipStore) -> str:
    """Twelve hexadecimal digits, equal for runs whose stage 1 is identical bit for bit."""
    kept: dict[str, Any] = {}
    settings = config.model_dump(mode="json")
    free_settings = free_settings_of(settings)
    for section, values in settings.items():
        free = STAGE2_ONLY if section == "schedule" else free_settings.get(section, ())
        if free == "all" or section == "stage2":
            continue
        kept[section] = {k: v for k, v in values.items() if k not in free} if isinstance(values, dict) else values
    kept["videos"] = videos_fingerprint(store.entries, store.settings)
    return hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=6).hexdigest()
