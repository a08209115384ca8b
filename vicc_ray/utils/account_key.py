"""A key that only this account has, by which it knows again what it wrote itself: whoever can write a folder can write
everything in it but a seal of that key."""

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
    """Where the key lies: ``$XDG_STATE_HOME/vicc-ray/key``, by default below ``~/.local/state``."""
    given = os.environ.get("XDG_STATE_HOME", "")
    state = Path(given) if given.startswith("/") else home() / ".local" / "state"
    return state / "vicc-ray" / "key"


def make_seal(content: bytes) -> str:
    """The seal of this account on ``content``, whose key is made now if need be; "" where none can be kept."""
    key = _read_key() or _make_key()
    return _seal(key, content) if key else ""


def has_own_seal(content: bytes, seal: str) -> bool:
    """Whether this account put that seal on ``content``."""
    key = _read_key()
    return key is not None and hmac.compare_digest(_seal(key, content).encode(), seal.encode())


def _seal(key: bytes, content: bytes) -> str:
    return hmac.new(key, content, "sha256").hexdigest()


def _read_key() -> bytes | None:
    """The key, where there is one that nobody else can read or has put there."""
    try:
        with open_regular(key_file(), follow=False) as file:
            about, key = os.fstat(file.fileno()), file.read(KEY_BYTES + 1)
    except OSError:
        return None
    is_private = about.st_uid == os.geteuid() and not about.st_mode & 0o077
    return key if is_private and len(key) == KEY_BYTES else None


def _make_key() -> bytes | None:
    """A new key in the place of none, or of one that others may know; of several processes, the first makes it."""
    path = key_file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file_lock(path.with_name(".key.lock")):
            return _read_key() or _write_key(path)
    except OSError:
        return None


def _write_key(path: Path) -> bytes | None:
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return _read_key()
