"""SQLite address of a database file."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote


def sqlite_address(file: Path) -> str:
    """Address under which SQLAlchemy opens a database file.

    A "?" would end the path, and whether "%" is an escape depends on the version: such a path uses SQLite's URI form,
    which SQLAlchemy formats itself.
    """
    if not set("?#%") & set(str(file)):
        return f"sqlite:///{file}"
    from sqlalchemy import URL

    address = URL.create("sqlite", database=f"file:{quote(str(file))}", query={"uri": "true"})
    return address.render_as_string(hide_password=False)
