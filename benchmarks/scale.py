"""Cost model of pretraining on 8, 64 and 512 GPUs: decoding cores, network, storage, dollars.

    python benchmarks/scale.py                      # writes scale.json and prints the table of docs/results.md
    python benchmarks/scale.py --gpu-samples 150    # with the rate that benchmarks/step.py measured on your GPU

Measured in this repository: samples per second and core, and bytes of a stored frame (ingest.json, short side 128).
Counted here: parameters and FLOPs of a step of S3D. Assumed, each an argument:

  --gpu-tflops   throughput of a GPU in such a step; 3-D convolutions stay far below its peak
  --link-us      one small all-reduce between machines, per doubling of their number
  --core-usd, --gpu-usd   spot prices per hour

The samples of a step are split over all GPUs, ``--gpu-batch`` each: the global batch grows with them. A GPU machine has
8 GPUs and 96 cores, of which each GPU's worker keeps two. What its cores do not decode comes from CPU machines, as raw
frames; both streams' clips, two a sample. Gradients are fp32 and added up in a ring; batch norm and Sinkhorn are
global, so that each batch norm layer costs a small all-reduce forward and one backward.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch
from measured import machine
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vicc_ray.config.loader import load_config
from vicc_ray.models.encoder import IN_CHANNELS, build_encoder

HERE = Path(__file__).parent
RESULT = HERE / "scale.json"
GPUS = (8, 64, 512)
GPUS_A_MACHINE, CORES_A_MACHINE, CORES_KEPT = 8, 96, 2
FRAMES, SIDE, CLIPS = 32, 128, 2
VIDEO_FRAMES = 300
"""Of a video of Kinetics at 30 frames a second."""
VIDEOS = 240_000
CHANNELS = 3 + 2
"""Bytes per pixel of RGB and flow, uncompressed."""


def main() -> None:
    """Compute and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu-samples", type=float, help="samples a second of one GPU, in place of --gpu-tflops")
    parser.add_argument("--gpu-tflops", type=float, default=60.0)
    parser.add_argument("--gpu-batch", type=int, default=24)
    parser.add_argument("--link-us", type=float, default=20.0)
    parser.add_argument("--gpu-usd", type=float, default=2.5, help="an H100 in a machine of eight")
    parser.add_argument("--core-usd", type=float, default=0.02)
    options = parser.parse_args()
    counted, measured = count(), read()
    speed = options.gpu_samples or 1e12 * options.gpu_tflops / counted["flops_a_sample"]
    rows = [row(gpus, speed, options, counted, measured) for gpus in GPUS]
    result = {"machine": machine(), "assumed": vars(options), "counted": counted, "measured": measured, "rows": rows}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(table(rows))


def count() -> dict[str, float]:
    """Arithmetic of a sample and what is exchanged, of S3D in the recipe of UCF101.

    A sample of a phase with both streams: two clips through the network that learns, forward and backward (twice the
    forward pass), and two through the frozen one.
    """
    encoder = build_encoder(load_config("ucf101-s3d").model)
    return {
        "flops_a_sample": CLIPS * (3 + 1) * _forward_flops(encoder),
        "gradient_bytes": 4 * sum(parameter.numel() for parameter in encoder.parameters()),
        "batch_norms": sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in encoder.modules()),
    }


def _forward_flops(encoder: nn.Module) -> float:
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        encoder.eval()(torch.zeros(1, IN_CHANNELS, FRAMES, SIDE, SIDE))
    return float(counter.get_total_flops())


def read() -> dict[str, float]:
    """Results of the other benchmarks."""
    ingest = json.loads((HERE / "ingest.json").read_text())["store"]["128"]
    return {
        "samples_a_core_s": ingest["free"]["samples_a_s_a_core"],
        "stored_bytes_a_frame": ingest["bytes_a_frame"],
        "raw_bytes_a_sample": CLIPS * FRAMES * SIDE * SIDE * CHANNELS,
    }


def row(
    gpus: int, speed: float, options: argparse.Namespace, counted: dict[str, float], measured: dict[str, float]
) -> dict[str, Any]:
    """The figures of one cluster size."""
    machines = math.ceil(gpus / GPUS_A_MACHINE)
    compute = options.gpu_batch / speed
    gradients = 8 * 2 * (machines - 1) / machines * counted["gradient_bytes"]
    hops = math.log2(machines) if machines > 1 else 0.0
    small = 2 * counted["batch_norms"] * hops * options.link_us / 1e6
    samples = gpus * options.gpu_batch / (compute + small)
    cores = samples / measured["samples_a_core_s"]
    local = machines * (CORES_A_MACHINE - GPUS_A_MACHINE * CORES_KEPT)
    remote = max(0.0, cores - local)
    moved = 8 * measured["raw_bytes_a_sample"] * samples * remote / cores
    stored = VIDEOS * VIDEO_FRAMES * measured["stored_bytes_a_frame"]
    dollars = gpus * options.gpu_usd + remote * options.core_usd
    return {
        "gpus": gpus,
        "samples_a_s": round(samples),
        "small_reduces_share": round(small / (compute + small), 3),
        "decoding_cores_a_gpu": round(cores / gpus, 1),
        "cores_on_cpu_machines": math.ceil(remote),
        "gbit_a_s_into_a_gpu_machine": round(moved / machines / 1e9, 1),
        # Gradients are sent while the rest of the backward pass is computed: half of a step is there for it.
        "gbit_a_s_for_gradients": round(gradients / (compute / 2) / 1e9, 2),
        "store_tb": round(stored / 1e12, 2),
        "gbit_a_s_from_storage": round(8 * stored * (samples / VIDEOS) / 1e9, 2),
        "epoch_s": round(VIDEOS / samples),
        "usd_an_epoch": round(dollars * VIDEOS / samples / 3600, 2),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table, one column for each cluster size."""
    names = {
        "samples_a_s": "samples a second",
        "small_reduces_share": "share of a step in batch norm's messages",
        "decoding_cores_a_gpu": "decoding cores a GPU",
        "cores_on_cpu_machines": "of all, on CPU machines",
        "gbit_a_s_into_a_gpu_machine": "frames into each GPU machine, Gbit/s",
        "gbit_a_s_for_gradients": "gradients between machines, Gbit/s each",
        "gbit_a_s_from_storage": "read from storage if no machine kept its copy, Gbit/s",
        "epoch_s": "an epoch of 240,000 videos, seconds",
        "usd_an_epoch": "and USD",
    }
    lines = ["| GPUs | " + " | ".join(str(entry["gpus"]) for entry in rows) + " |", "| --- |" + " ---: |" * len(rows)]
    lines += [f"| {text} | " + " | ".join(f"{entry[key]:,}" for entry in rows) + " |" for key, text in names.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
