"""HTML of the served and the static search page; their script renders the content."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from markupsafe import Markup

from vicc_ray.search.reader import SearchIndex
from vicc_ray.utils.html import content_policy, finished, load_templates

SCRIPT = files(__package__).joinpath("search.js").read_text("utf-8")
STYLE = files(__package__).joinpath("search.css").read_text("utf-8")


def served_page(index: SearchIndex, largest: int) -> str:
    """Page of the server; ``largest`` is the upload limit in bytes."""
    return _render(index, {"served": True, "largest": largest}, policy="", style="", script="")


def static_page(index: SearchIndex, data: dict[str, Any]) -> str:
    """Self-contained page; its content security policy forbids network requests."""
    return _render(index, {"served": False, **data}, content_policy(STYLE, SCRIPT), Markup(STYLE), Markup(SCRIPT))


def _render(index: SearchIndex, data: dict[str, Any], policy: str, style: str, script: str) -> str:
    about = {"backbone": index.description.backbone, "fingerprint": index.description.fingerprint}
    page = load_templates("vicc_ray.search", "html").get_template("page.html.j2")
    return finished(page.render(data=data, count=len(index), policy=policy, style=style, script=script, **about))
