"""``python -m vicc_ray`` is ``vicc-ray``."""

from __future__ import annotations

import sys

from vicc_ray.cli import main

if __name__ == "__main__":
    sys.exit(main())
