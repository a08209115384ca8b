"""The secret key of this account, and seals (HMAC-SHA256) made with it.

A seal shows that this account wrote a file. Somebody else who can write the folder can replace the file, but cannot
make the seal.
"""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

from vicc_ray.utils.fs import file_lock
from vicc_ray.utils.home import home
from vicc_ray.utils.regular_file import open_regular

KEY_BYTES = 32


def key_file() -> Path:
    """Path of the key: ``$XDG_STATE_HOME/vicc-ray/key``, by default below ``~/.local/state``."""
    variable = os.environ.get("XDG_STATE_HOME", "")
    state = Path(variable) if variable.startswith("/") else home() / ".local" / "state"
    return state / "vicc-ray" / "key"


def seal_content(content: bytes) -> str:
    """Seal of ``content``; the key is created if there is none. "" where no key can be stored."""
    key = _read_key() or _make_key()
    return _seal(key, content) if key else ""


def is_sealed_here(content: bytes, seal: str) -> bool:
    """Whether ``seal`` was made by this account for ``content``."""
    key = _read_key()
    return key is not None and hmac.compare_digest(_seal(key, content).encode(), seal.encode())


def _seal(key: bytes, content: bytes) -> str:
    return hmac.new(key, content, "sha256").hexdigest()


def _read_key() -> bytes | None:
    """The key; None without one, or if another account owns it or can read it."""
    try:
        with open_regular(key_file(), follow=False) as file:
            status, key = os.fstat(file.fileno()), file.read(KEY_BYTES + 1)
    except OSError:
        return None
    is_private = status.st_uid == os.geteuid() and not status.st_mode & 0o077
    return key if is_private and len(key) == KEY_BYTES else None


def _make_key() -> bytes | None:
    """New key, replacing one that others may know. The lock lets only the first of several processes create it."""
    path = key_file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file_lock(path.with_name(".key.lock")):
            return _read_key() or _write_key(path)
    except OSError:
        return None


def _write_key(path: Path) -> bytes | None:
    tmp = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        tmp.replace(path)
    finally:
        tmp.unlink(missing_ok=True)
    return _read_key()
