"""Install the project's dependencies into the virtual environment of this Python, with every file's hash checked.

usage: VENV/bin/python requirements/install.py

uv installs several times faster than pip. It does not read pip's configuration, so this script passes it on: a custom
index of pip needs no other setting. Existing environment variables of uv take precedence.
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
    """pip's settings from its files and variables in order of precedence; lists are separated by spaces."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    lines = [line.partition("=") for line in listed.stdout.splitlines()]
    settings: dict[str, str] = {}
    for section in ("global", "install", ":env:"):
        for key, _, value in lines:
            if key.startswith(f"{section}."):
                settings[key.removeprefix(f"{section}.")] = " ".join(ast.literal_eval(value).split())
    return settings


def uv_environment() -> dict[str, str]:
    """Environment with pip's settings as variables of uv."""
    settings = pip_settings()
    variables = {variable: settings.get(name, "") for variable, name in FROM_PIP.items()}
    variables["UV_FIND_LINKS"] = variables["UV_FIND_LINKS"].replace(" ", ",")
    variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as in pip, all indexes are equal; hashes make it safe
    return {**{name: value for name, value in variables.items() if value}, **os.environ}


def main() -> None:
    """Install the pinned uv with pip, the dependencies with uv, then the project itself in editable mode.

    Dependencies of the job server's tests are included where they are pinned; elsewhere those tests are skipped.
    """
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "-r", str(HERE / "uv.txt")], check=True)
    install = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--python", sys.executable]
    environment = uv_environment()
    jobs = sys.version_info[:2] == (3, 11) and sys.platform == "linux" and platform.machine() == "x86_64"
    for arguments in (
        # Bytecode is compiled once here: where Python cannot write its cache, each of Ray's many processes compiles it.
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
