"""Keys of the published S3D, mapped to ours.

The published network registers every layer twice: under its own name and within a block (``Conv_1a`` is ``block1.0``).
The two keys are aliases of one tensor.
"""

from __future__ import annotations

import re

LAYERS = (
    ("Conv_1a", "block1.0", 0),
    ("Conv_2b", "block2.1", 2),
    ("Conv_2c", "block2.2", 3),
    ("Mixed_3b", "block3.1", 5),
    ("Mixed_3c", "block3.2", 6),
    ("Mixed_4b", "block4.1", 8),
    ("Mixed_4c", "block4.2", 9),
    ("Mixed_4d", "block4.3", 10),
    ("Mixed_4e", "block4.4", 11),
    ("Mixed_4f", "block4.5", 12),
    ("Mixed_5b", "block5.1", 14),
    ("Mixed_5c", "block5.2", 15),
)
"""Published name of a layer, its alias in a block, its index in torchvision's ``features``."""
INDICES = {name: index for layer, alias, index in LAYERS for name in (layer, alias)}
NAME = re.compile(r"(\w+_\d\w|block\d\.\d)\.(?:(branch\d)\.(\d)\.)?(conv|bn)([12]?)\.(\w+)")


def map_key(name: str) -> str:
    """``Mixed_3b.branch1.0.conv.weight`` -> ``layers.5.branch1.0.0.weight``; "" for an unknown layer."""
    match = NAME.fullmatch(name)
    if match is None or match[1] not in INDICES or (match[2] == "branch0" and match[3] != "0"):
        return ""
    layer, branch, position, kind, half, leaf = match.groups()
    path = ["layers", str(INDICES[layer])]
    if branch:
        path += [branch] if branch == "branch0" else [branch, position]
    if half:
        path.append(str(int(half) - 1))
    return ".".join([*path, "0" if kind == "conv" else "1", leaf])
