"""A database in a file, as an address."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote


def sqlite_address(file: Path) -> str:
    """The address under which SQLAlchemy opens a file.

    A ? would cut it, and whether a % is an escape depends on the version: such a path goes through SQLite's own form,
    which SQLAlchemy writes as it reads it.
    """
    if not set("?#%") & set(str(file)):
        return f"sqlite:///{file}"
    from sqlalchemy import URL

    address = URL.create("sqlite", database=f"file:{quote(str(file))}", query={"uri": "true"})
    return address.render_as_string(hide_password=False)
