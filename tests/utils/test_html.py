"""What all templates have in common."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from vicc_ray.utils.html import load_templates


def test_text_is_escaped_for_its_context_and_undefined_values_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pages_of_a_test/here").mkdir(parents=True)
    (tmp_path / "pages_of_a_test/__init__.py").touch()
    (tmp_path / "pages_of_a_test/here/it.j2").write_text(
        "{% if true %}\n  {% set x = name %}\n<b>{{ x }}</b>\n{% endif %}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        page = load_templates("pages_of_a_test", "here").get_template("it.j2")
        assert page.render(name="<&>") == "<b>&lt;&amp;&gt;</b>\n"
        with pytest.raises(UndefinedError):
            page.render()
        text = load_templates("pages_of_a_test", "here", html=False).get_template("it.j2")
        assert text.render(name="<&>\n") == r"<b>\<\&\></b>" + "\n"
        assert text.render(name=Markup("*")) == "<b>*</b>\n"
    finally:
        sys.modules.pop("pages_of_a_test", None)
