"""Time and memory of a training step, compared with a plain implementation and across settings.

    python benchmarks/step.py                  # writes benchmarks/step.json for S3D on the CPU
    python benchmarks/step.py --backbone tiny  # adds another network's; --device cuda adds the GPU's

The plain side (plain_step.py) computes in fp32 on contiguous tensors, one view and one parameter at a time. Both sides
train the same phase (RGB, stage 2: two views with gradient, two of the frozen flow network) with the same networks,
augmentation and a full queue. Each measurement has its own process, since memory is a peak. The variants alternate,
``--rounds`` times, so that other load disturbs all alike; figures are medians.

  cpu_ms      CPU time of a step, which other processes disturb least (on a GPU: the host's)
  loss_share  fraction of a step in assignments and loss, forward and backward, measured separately
  of_matmul   FLOP rate of the step relative to that of a matrix product in fp32 on this machine
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from measured import machine
from plain_step import PlainStep
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.flop_counter import FlopCounterMode

from vicc_ray.config import Config
from vicc_ray.runs.schedule import build_phases
from vicc_ray.training.tasks.pretrainer import Pretrainer
from vicc_ray.video.appearance import APPEARANCE

RESULT = Path(__file__).with_suffix(".json")
THREADS = 2
PHASE = "rgb-stage2-1"
SIZES = {
    "cpu": {"s3d": (16, 112, 4), "r2plus1d-small": (16, 112, 2), "tiny": (8, 40, 32)},
    "cuda": {"s3d": (32, 128, 24), "r2plus1d-small": (32, 128, 24), "tiny": (8, 40, 32)},
}
"""Device -> backbone -> frames, side and batch; those of ``tiny`` are the demo's."""
VARIANTS: dict[str, dict[str, Any]] = {
    "usual": {},
    "contiguous": {"channels_last": False},
    "fp32": {"precision": "fp32"},
    "bf16": {"precision": "bf16"},
    "checkpointing": {"activation_checkpointing": True},
    "deterministic": {"deterministic": True},
    "compiled": {"compile": True},
}
"""Name -> settings that differ from the defaults."""
OPTIONAL = {"cpu": {"fp32", "compiled"}, "cuda": set[str]()}
"""Variants measured only on request: fp32 is the default on CPUs, and compilation there takes minutes."""


def main() -> None:
    """Measure one variant in this process, or all variants alternately in subprocesses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--backbone", default="s3d", choices=list(SIZES["cpu"]))
    parser.add_argument(
        "--variants", nargs="+", choices=["plain", *VARIANTS], help="only these; plain is always included"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="timed steps per process, after two warm-up steps")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, torch.device(options.device), options.backbone, options.steps)))
        return
    chosen = options.variants or [name for name in VARIANTS if name not in OPTIONAL[options.device]]
    names = ["plain", *(name for name in chosen if name != "plain")]
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            results[name].append(in_subprocess(name, options.device, options.backbone, options.steps))
            print(name, json.dumps(results[name][-1]), flush=True)
    write(options.device, options.backbone, results)


def in_subprocess(name: str, device: str, backbone: str, steps: int) -> dict[str, Any]:
    """Result of :func:`measure` in a new process."""
    arguments = ["--device", device, "--backbone", backbone, "--steps", str(steps)]
    command = [sys.executable, __file__, "--one", name, *arguments]
    # Waiting threads must not occupy cores or count as CPU time.
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def write(device: str, backbone: str, rounds: dict[str, list[dict[str, Any]]]) -> None:
    """Write medians over the rounds to the file's section of this device and backbone."""
    flops = medians(rounds["plain"])["gflop"]
    table = {}
    for name, results in rounds.items():
        row, plain = medians(results), medians(rounds["plain"])
        table[name] = {
            "step_ms": round(row["step_ms"], 1),
            "times_as_fast_as_plain": round(plain["step_ms"] / row["step_ms"], 3),
            "cpu_ms": round(row["cpu_ms"], 1),
            "times_less_cpu_than_plain": round(plain["cpu_ms"] / row["cpu_ms"], 3),
            "loss_share": round(row["loss_ms"] / row["step_ms"], 4),
            "peak_mb": round(row["peak_mb"]),
            "of_matmul": round(flops / (row["step_ms"] / 1000) / row["matmul_gflops"], 3),
        }
        print(f"{name:14}", json.dumps(table[name]))
    frames, side, batch = SIZES[device][backbone]
    known: dict[str, dict[str, Any]] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    known.setdefault(device, {})[backbone] = {
        "machine": {**machine(), "torch": torch.__version__, **_processor(device)},
        "step": {"frames": frames, "side": side, "batch": batch, "phase": PHASE, "gflop": round(flops, 1)},
        "rounds": len(rounds["plain"]),
        "variants": table,
    }
    RESULT.write_text(json.dumps(known, indent=1) + "\n")


def medians(results: list[dict[str, Any]]) -> dict[str, float]:
    """Median of every figure over the rounds."""
    return {key: median(one[key] for one in results) for key in results[0]}


def _processor(device: str) -> dict[str, Any]:
    if device == "cuda":
        return {"gpu": torch.cuda.get_device_name()}
    return {"threads": THREADS, "vectors": torch.backends.cpu.get_cpu_capability()}


def measure(name: str, device: torch.device, backbone: str, steps: int) -> dict[str, float]:
    """Times of step and loss in milliseconds, peak memory in MB, and GFLOPs of a step and of the machine."""
    torch.set_num_threads(THREADS if device.type == "cpu" else torch.get_num_threads())
    sizes = SIZES[device.type][backbone]
    settings = config(backbone, sizes, VARIANTS.get(name, {}))
    batch = make_batch(sizes, device)
    step, loss = (_plain if name == "plain" else _ours)(settings, device, batch)
    step()
    with FlopCounterMode(display=False) as counter:
        step()
    used = time.process_time()
    step_ms = median(timed(step, device) for _ in range(steps))
    cpu_ms = 1000 * (time.process_time() - used) / steps
    on_gpu = device.type == "cuda"
    peak = torch.cuda.max_memory_allocated() if on_gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loss_ms = median(timed(loss, device) for _ in range(5))
    return {
        **{"step_ms": step_ms, "cpu_ms": cpu_ms, "loss_ms": loss_ms, "peak_mb": peak / 1e6},
        **{"gflop": counter.get_total_flops() / 1e9, "matmul_gflops": matmul_gflops(device)},
    }


def _plain(settings: Config, device: torch.device, batch: dict[str, Tensor]) -> tuple[Callable[[], Any], ...]:
    plain = PlainStep(settings, device)

    def loss() -> None:
        plain.loss(list(leaf(settings, device).unbind())).backward()

    return lambda: plain.step(batch), loss


def _ours(settings: Config, device: torch.device, batch: dict[str, Tensor]) -> tuple[Callable[[], Any], ...]:
    pretrainer = Pretrainer(settings, device)
    pretrainer.start_phase(next(phase for phase in build_phases(settings.schedule) if phase.name == PHASE))
    epoch = pretrainer.phase.first_epoch + 1
    full = torch.randn(4, settings.method.queue_size, settings.model.embed_dim, device=device)
    pretrainer.queue.push(normalize(full, dim=2))

    def loss() -> None:
        z = leaf(settings, device)
        pretrainer.objective.loss(z, z.detach(), pretrainer.own, epoch)[0].backward()

    return lambda: pretrainer.step(batch, epoch), loss


def config(backbone: str, sizes: tuple[int, int, int], train: dict[str, Any]) -> Config:
    """The published method at this size, with the queue in use."""
    frames, side, batch = sizes
    return Config.model_validate(
        {
            "clip": {"frames": frames, "size": side},
            "model": {"backbone": backbone},
            "method": {"queue_start_epoch": 0},
            "train": {"global_batch_size": batch, **train},
        }
    )


def make_batch(sizes: tuple[int, int, int], device: torch.device) -> dict[str, Tensor]:
    """Batch of noise clips, half of them with blur, in the loader's format."""
    frames, side, batch = sizes
    draw = torch.Generator().manual_seed(0)
    shape = (batch, 2, frames, side, side)
    appearance = torch.rand(batch, 2, len(APPEARANCE), generator=draw)
    appearance[:, 0, APPEARANCE.index("sigma")] = 0.0
    clips = {
        stream: torch.randint(0, 256, (*shape, channels), generator=draw, dtype=torch.uint8)
        for stream, channels in (("rgb", 3), ("flow", 2))
    }
    return {**clips, "appearance": appearance}


def leaf(settings: Config, device: torch.device) -> Tensor:
    """Random embeddings [4, b, D] of unit norm that require gradients."""
    z = torch.randn(4, settings.train.global_batch_size, settings.model.embed_dim, device=device)
    return normalize(z, dim=2).requires_grad_()


def timed(work: Callable[[], Any], device: torch.device) -> float:
    """Milliseconds until the device is done."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    work()
    wait()
    return 1000 * (time.perf_counter() - start)


def matmul_gflops(device: torch.device, side: int = 2048) -> float:
    """Best GFLOP rate of this machine in a product of two square fp32 matrices."""
    left, right = torch.randn(2, side, side, device=device).unbind()
    return 2e-6 * side**3 / min(timed(lambda: left @ right, device) for _ in range(10))


if __name__ == "__main__":
    main()
