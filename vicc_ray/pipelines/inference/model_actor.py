"""Inference spec and the process that runs it: networks are loaded once in a process and kept for every call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import torch


@dataclass(frozen=True)
class InferenceSpec:
    """What every process of an inference pass needs; it travels through the object store.

    Attributes:
        load: from a device to the networks, in eval mode on it.
        run: from the networks, the device and the arguments of a call to its result.
    """

    load: Callable[[torch.device], Any]
    run: Callable[..., Any]
    use_gpu: bool


class ModelActor:
    """Networks of an :class:`InferenceSpec`, ready on the device of this process."""

    def __init__(self, spec: InferenceSpec) -> None:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        self._run, self._device = spec.run, torch.device("cuda" if spec.use_gpu else "cpu")
        self._networks = spec.load(self._device)

    def __call__(self, *arguments: Any) -> Any:
        """The result for the arguments of one call."""
        return self._run(self._networks, self._device, *arguments)
