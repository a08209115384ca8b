"""The HTML document around both pages: one self-contained file with a policy that allows nothing else."""

from __future__ import annotations

from importlib.resources import files

from markupsafe import Markup

from vicc_ray.utils.html import content_policy, finished, load_templates


def render_page(title: str, body: Markup, style: str, script: str = "", body_class: str = "") -> str:
    """A whole page.

    Args:
        style, script: inserted verbatim, so they must not contain text from outside. The content security policy allows
            exactly these two.
    """
    base = (files("vicc_ray.reports") / "templates" / "base.css").read_text("utf-8")
    style = f"{base}\n{style}"
    page = load_templates("vicc_ray.reports", "templates").get_template("page.html.j2")
    html = page.render(
        title=title,
        policy=content_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        body=body,
        body_class=body_class,
    )
    return finished(html)
