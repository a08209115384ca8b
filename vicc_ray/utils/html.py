"""Jinja environment of all pages and cards, and the content security policy of pages.

Undefined variables are errors. :func:`finished` escapes invisible characters; :func:`content_policy` limits what the
page may load.
"""

from __future__ import annotations

import base64
import hashlib

from jinja2 import Environment, PackageLoader, StrictUndefined

from vicc_ray.utils.markdown import escape_field
from vicc_ray.utils.visible_text import visible_lines


def load_templates(package: str, folder: str, html: bool = True) -> Environment:
    """Environment for the templates in a folder of a package.

    Args:
        package: name of the package, for example "vicc_ray.search".
        html: escape values as HTML; otherwise as Markdown. Values that are HTML or Markdown already are given as
            :class:`markupsafe.Markup`.

    Raises (when a template is rendered):
        jinja2.UndefinedError: the template uses a variable that was not given.
    """
    return Environment(
        loader=PackageLoader(package, folder),
        autoescape=html,
        finalize=None if html else escape_field,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def finished(page: str) -> str:
    """Page with invisible and direction-changing characters escaped."""
    return visible_lines(page)


def content_policy(style: str, script: str = "") -> str:
    """Content security policy of a self-contained page: its own style and script, and embedded media.

    Any other script or style sheet is blocked, and nothing is loaded over the network. Inline styles of elements are
    allowed: charts use them for positions, and they cannot load anything.
    """
    scripts = _source(script) if script else "'none'"
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; style-src-elem {_source(style)}; "
        "img-src data:; media-src data:; base-uri 'none'; form-action 'none'"
    )


def _source(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
