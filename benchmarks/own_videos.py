"""End-to-end job on a folder of real videos with few labels: R@1 of every network with its 95 % interval.

    python benchmarks/own_videos.py VIDEOS OUT     # writes benchmarks/own_videos.json

The committed figures are those of 64 surveillance clips (two labels, mixed sizes and rates) with the demo's recipe, a
batch of 8, and neighbors of the same recording excluded. So few videos can hardly separate the networks; the run shows
that real files work, and how wide the intervals are.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from measured import machine, recalls, vicc_ray

RESULT = Path(__file__).with_suffix(".json")
SETTINGS = ("train.global_batch_size=8", "evaluate.exclude_same_source=true", "evaluate.max_windows_per_video=10")


def main() -> None:
    """Run the job and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    start = time.perf_counter()
    changes = [word for setting in SETTINGS for word in ("--set", setting)]
    vicc_ray("run", "demo", "--videos", options.videos, "--out", options.out, *changes)
    minutes = round((time.perf_counter() - start) / 60, 2)
    table = json.loads((options.out / "run" / "evaluation" / "evaluation.json").read_text())
    scores = recalls(options.out / "run")
    result = {
        "settings": SETTINGS,
        "dataset": table["dataset"],
        "machine": machine(),
        "minutes": minutes,
        "recall_at_1": scores,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
