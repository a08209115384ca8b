"""The launch files of clusters, as they lie in ``cluster/``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "cluster"
CLOUDS = ("aws", "gcp", "azure")
LAUNCHED = (*CLOUDS, "onprem")
"""By ``ray up``."""
KUBERAY = ("raycluster", "rayjob")


def path_of(name: str) -> Path:
    """The file of one of :data:`LAUNCHED` or :data:`KUBERAY`."""
    return FOLDER / ("kuberay" if name in KUBERAY else "") / f"{name}.yaml"


def load(name: str) -> dict[str, Any]:
    """Its content, read as Ray and kubectl do."""
    content: dict[str, Any] = yaml.safe_load(path_of(name).read_text())
    return content


def entries(content: Any, path: str = "") -> list[tuple[str, Any]]:
    """Every key and value below ``content``, with the path to it."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    found = []
    for key, value in pairs:
        here = f"{path}/{key}"
        found += [(here, value), *entries(value, here)]
    return found
