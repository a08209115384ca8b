"""Install what the project needs into the virtual environment whose Python runs this, every file checked by its hash.

usage: VENV/bin/python requirements/install.py

uv does the work, several times faster than pip. It does not read pip's configuration, so this passes that on: where pip
has an index of its own, nothing else needs to be set. Variables of uv that are set already stay as they are.
"""

from __future__ import annotations

import ast
import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FROM_PIP = {
    "UV_DEFAULT_INDEX": "index-url",
    "UV_INDEX": "extra-index-url",
    "UV_FIND_LINKS": "find-links",
    "UV_INSECURE_HOST": "trusted-host",
    "UV_HTTP_TIMEOUT": "default-timeout",
    "SSL_CERT_FILE": "cert",
}
"""Variable of uv -> setting of pip."""


def pip_settings() -> dict[str, str]:
    """pip's settings from its files and variables, the stronger winning; lists are separated by blanks."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    lines = [line.partition("=") for line in listed.stdout.splitlines()]
    found: dict[str, str] = {}
    for section in ("global", "install", ":env:"):
        for key, _, value in lines:
            if key.startswith(f"{section}."):
                found[key.removeprefix(f"{section}.")] = " ".join(ast.literal_eval(value).split())
    return found


def uv_environment() -> dict[str, str]:
    """The environment with pip's settings under uv's names."""
    settings = pip_settings()
    wanted = {variable: settings.get(name, "") for variable, name in FROM_PIP.items()}
    wanted["UV_FIND_LINKS"] = wanted["UV_FIND_LINKS"].replace(" ", ",")
    wanted["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as pip: all indexes are equal; safe, since the hashes decide
    return {**{name: value for name, value in wanted.items() if value}, **os.environ}


def main() -> None:
    """Fetch the pinned uv with pip, the rest with uv, then the project itself as an editable install.

    With what the tests of the job server need, where that is pinned: they are left out elsewhere.
    """
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "-r", str(HERE / "uv.txt")], check=True)
    install = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--python", sys.executable]
    environment = uv_environment()
    jobs = sys.version_info[:2] == (3, 11) and sys.platform == "linux" and platform.machine() == "x86_64"
    for arguments in (
        # Compiled once here: Ray starts many processes, and where Python may not keep its cache each compiles anew.
        ["--compile-bytecode", "--require-hashes", "-r", str(HERE / "dev.txt")],
        *([["--compile-bytecode", "--require-hashes", "-r", str(HERE / "jobs.txt")]] if jobs else []),
        ["--no-deps", "--no-build-isolation", "--editable", str(HERE.parent)],
    ):
        subprocess.run([*install, *arguments], check=True, env=environment)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: {Path(error.cmd[0]).name} failed with exit code {error.returncode}; its message is above")
