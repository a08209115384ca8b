"""Correctness of the backbones' convolutions on this CPU: those of torch, and our replacements.

    python benchmarks/short_clips.py [--seconds 100]    # JSON; exit code 1 if one of ours is wrong

Every temporal or spatial convolution of every backbone, for clips of few frames and pixels, and some long kernels, in
fp32 and bf16, channels last: as built, as training on CPUs converts it, and as torch has it. Each case runs forward and
backward in separate processes (torch's apart from ours) under glibc's heap checks, and is compared with contiguous
tensors without oneDNN. Clips shorter than a kernel come first; cases beyond the time limit are skipped and counted.
`torch` lists wrong results and crashes of torch, the reason for `vicc_ray/models/padded_conv3d.py`.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple, TextIO

import torch
from measured import machine
from torch import Tensor, nn

from vicc_ray.models.backbones.base import build_backbone
from vicc_ray.models.cpu_conv.convert import optimize_for_cpu
from vicc_ray.models.padded_conv3d import use_padded_convs
from vicc_ray.registry import BACKBONES

HEAP_CHECKS = {"MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165"}
DEBUG_LIBRARY = "libc_malloc_debug.so.0"
"""Library with the heap checks of glibc 2.34 and later."""
LAST = torch.channels_last_3d
FRAMES, MORE_PIXELS = range(1, 11), (0, 16)
TOLERANCE = {"float32": 2e-3, "bfloat16": 0.05}
"""Largest difference, relative to the largest value."""
WAYS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "torch": nn.Identity(),
    "built": use_padded_convs,
    "trained": optimize_for_cpu,
}


class Case(NamedTuple):
    """Convolution and its input size: frames, rows and columns."""

    channels: tuple[int, int]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    size: tuple[int, ...]

    def is_short(self) -> bool:
        """Whether kernel and step together are longer than the input, over time or space."""
        return any(k > 1 and n < k + s - 1 for n, k, s in zip(self.size, self.kernel, self.stride, strict=True))

    def layer(self) -> nn.Conv3d:
        torch.manual_seed(0)
        return nn.Conv3d(*self.channels, self.kernel, self.stride, self.padding)


def cases() -> list[Case]:
    """All cases: short inputs first, then by number of channels."""
    unique = {case for name in BACKBONES for case in _of_backbone(name)} | {
        Case((64, 64), (kernel, 1, 1), (stride, 1, 1), (kernel // 2, 0, 0), (frames, 12, 10))
        for kernel in (7, 9)
        for stride in (1, 2)
        for frames in FRAMES
    }
    return sorted(unique, key=lambda case: (not case.is_short(), case.channels[0] * case.channels[1], case))


def _of_backbone(name: str) -> Iterator[Case]:
    spec, collected = BACKBONES[name], []

    def collect(conv: nn.Conv3d, inputs: tuple[Tensor, ...]) -> None:
        channels = (conv.in_channels, conv.out_channels)
        collected.append(Case(channels, conv.kernel_size, conv.stride, conv.padding, tuple(inputs[0].shape[2:])))

    with torch.device("meta"), torch.no_grad():
        backbone = build_backbone(name).eval()
        for module in backbone.modules():
            if isinstance(module, nn.Conv3d) and module.kernel_size != (1, 1, 1):
                module.register_forward_pre_hook(collect)
        for frames in (frames for frames in FRAMES if frames >= spec.min_frames):
            for pixels in (spec.min_pixels + more for more in MORE_PIXELS):
                backbone(torch.empty(1, 3, frames, pixels, pixels))
    yield from collected


def wrong(case: Case, ways: tuple[str, ...]) -> Iterator[tuple[str, str, list[str]]]:
    """Way, precision and the names of wrong results, or the exit code of a crashed process."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        with os.fdopen(writer, "w") as report:
            for dtype in TOLERANCE:
                _compare(case, ways, dtype, report)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        lines = [json.loads(line) for line in answer]
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    yield from (line for line in lines if line[2])
    if code:
        pairs = [(way, dtype) for dtype in TOLERANCE for way in ways]
        yield (*pairs[min(len(lines), len(pairs) - 1)], [f"ended with {code}"])


def _compare(case: Case, ways: tuple[str, ...], precision: str, report: TextIO) -> None:
    dtype = getattr(torch, precision)
    layer = case.layer().to(dtype).float()
    x = torch.randn(2, case.channels[0], *case.size).to(dtype).float()
    with torch.backends.mkldnn.flags(enabled=False):
        expected = _results(layer, x)
    for way in ways:
        network = WAYS[way](nn.Sequential(copy.deepcopy(layer)).to(memory_format=LAST))
        wrong_results = set()
        for _ in range(2):  # the second pass reuses memory of the first
            with torch.autocast("cpu", dtype) if dtype == torch.bfloat16 else nullcontext():
                results = _results(network, x.contiguous(memory_format=LAST))
            wrong_results |= {
                name for name, value in expected.items() if not _near(results[name], value, TOLERANCE[precision])
            }
        report.write(json.dumps([way, precision, sorted(wrong_results)]) + "\n")
        report.flush()


def _near(value: Tensor, expected: Tensor, tolerance: float) -> bool:
    return bool((value.float() - expected).abs().max() <= tolerance * expected.abs().max().clamp_min(1e-6))


def _results(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    network.zero_grad()
    y = network(x)
    y.backward(torch.linspace(-1, 1, y.numel()).view(y.shape).to(y.dtype))
    with torch.inference_mode():
        frozen_output = network(x)
    weight, bias = network.parameters()
    named = {"output": y.detach(), "frozen output": frozen_output, "input's gradient": x.grad}
    return named | {"weight's gradient": weight.grad.clone(), "bias's gradient": bias.grad.clone()}


def check_all(seconds: float) -> dict[str, Any]:
    """Report on all cases within the time limit."""
    until, every = time.monotonic() + seconds, cases()
    bad: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    done = 0
    while done < len(every) and time.monotonic() < until:
        for ways in (("built", "trained"), ("torch",)):
            for way, precision, names in wrong(every[done], ways):
                bad[way].append(every[done]._asdict() | {"precision": precision, "wrong": names})
        done += 1
    short = sum(case.is_short() for case in every)
    counts = {"cases": len(every), "short": short, "looked_at": done}
    heap = {name: os.environ.get(name) for name in (*HEAP_CHECKS, "LD_PRELOAD", "ONEDNN_MAX_CPU_ISA")}
    return {"machine": machine(), "torch_version": torch.__version__, "environment": heap, **counts, **bad}


def check_heap() -> None:
    """Restart this process under glibc's heap checks, which are read at startup."""
    if "MALLOC_CHECK_" in os.environ:
        return
    try:
        ctypes.CDLL(DEBUG_LIBRARY)
        os.environ["LD_PRELOAD"] = DEBUG_LIBRARY
    except OSError:
        pass  # older versions of glibc have them built in; other C libraries have none
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **HEAP_CHECKS})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=100.0)
    seconds = parser.parse_args().seconds
    check_heap()
    report = check_all(seconds)
    print(json.dumps(report))
    return 1 if report["built"] or report["trained"] else 0


if __name__ == "__main__":
    sys.exit(main())
