"""Keys of the published small R(2+1)D, mapped to ours.

The published stem is ``conv1``, ``bn1``; the stages are ``conv2`` to ``conv5`` with one ``block1`` each. Every
convolution is a pair, ``spatial_conv`` and ``temporal_conv``, with ``bn`` in between.
"""

from __future__ import annotations

import re

STEM = {"conv1": "0", "bn1": "1"}
BLOCK = {
    "conv1": "main.0",
    "bn1": "main.1",
    "conv2": "main.3",
    "bn2": "main.4",
    "downsampleconv": "shortcut.0",
    "downsamplebn": "shortcut.1",
}
PAIR = {"spatial_conv": "spatial", "bn": "norm", "temporal_conv": "temporal"}
NAME = re.compile(r"(?:conv([2-5])\.block1\.)?(\w+?)(?:\.(spatial_conv|bn|temporal_conv))?\.(\w+)")


def map_key(name: str) -> str:
    """``conv3.block1.conv1.bn.bias`` -> ``layers.2.main.0.norm.bias``; "" for an unknown layer."""
    match = NAME.fullmatch(name)
    if match is None:
        return ""
    stage, layer, part, leaf = match.groups()
    prefix = (BLOCK if stage else STEM).get(layer)
    if prefix is None:
        return ""
    path = ["layers", str(int(stage) - 1) if stage else "0", prefix]
    return ".".join([*path, *([PAIR[part]] if part else []), leaf])
