"""Jinja templates as all pages and cards of this package are made from: nothing undefined, no stray blank lines.

A page that is one file is finished with :func:`finished`, and says itself what it may do: :func:`content_policy`.
"""

from __future__ import annotations

import base64
import hashlib

from jinja2 import Environment, PackageLoader, StrictUndefined

from vicc_ray.utils.markdown import of_field
from vicc_ray.utils.visible_text import visible_lines


def load_templates(package: str, folder: str, html: bool = True) -> Environment:
    """The templates in a folder of a package.

    Args:
        package: in which it lies, "vicc_ray.search".
        html: whether it is of a page, whose texts are escaped as HTML; else they are escaped as Markdown. A value
            that is HTML or Markdown itself is given as :class:`markupsafe.Markup`.

    Raises (when a template is rendered):
        jinja2.UndefinedError: it asks for something that it was not given.
    """
    return Environment(
        loader=PackageLoader(package, folder),
        autoescape=html,
        finalize=None if html else of_field,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def finished(page: str) -> str:
    """A page as it is written: no character of a name phases or hides what stands beside it."""
    return visible_lines(page)


def content_policy(style: str, script: str = "") -> str:
    """The policy of a page that is one file: its own style element, its own script if it has one, what it carries.

    No other script or style sheet counts, whatever gets into the page, and nothing is asked for over a network. Styles
    of single elements are let in: they place bars and dots, and reach nothing outside the page either.
    """
    scripts = _source(script) if script else "'none'"
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; style-src-elem {_source(style)}; "
        "img-src data:; media-src data:; base-uri 'none'; form-action 'none'"
    )


def _source(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
