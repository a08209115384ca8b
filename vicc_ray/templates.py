"""Jinja templates as all pages and cards of this package are made from: nothing undefined, no stray blank lines."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def load_templates(package: str, folder: str, html: bool = True) -> Environment:
    """The templates in a folder of a package.

    Args:
        package: in which it lies, "vicc_ray.search".
        html: whether every text that is put in is escaped, as pages need it and Markdown does not. A value that is
            HTML itself is given as :class:`markupsafe.Markup`.

    Raises (when a template is rendered):
        jinja2.UndefinedError: it asks for something that it was not given.
    """
    return Environment(
        loader=PackageLoader(package, folder),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
