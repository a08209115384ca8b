"""Fields of others in Markdown are text: a parser finds no structure in them that we did not write."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from markdown_it import MarkdownIt
from markdown_it.token import Token
from safetensors import safe_open
from safetensors.torch import save_file

from vicc_ray.config import ClipConfig, Config, ModelConfig
from vicc_ray.errors import UserError
from vicc_ray.export.model_card import card_text
from vicc_ray.models.encoder import build_encoder
from vicc_ray.models.weights_io import EncoderWeights, read_weights, write_weights
from vicc_ray.utils.markdown import LONGEST, as_block, as_code, as_text, escape_field

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!-- hidden",
    "[a](https://evil.example)",
    "![a](https://evil.example/a.png)",
    "[a]: https://evil.example",
    "[a][b]",
    "<https://evil.example>",
    "https://evil.example/?a=b",
    "www.evil.example me@evil.example",
    "a\n\n# heading\n",
    "# heading",
    "1. one",
    "7) seven",
    "- list",
    "+ list",
    "> quotation",
    "===",
    "---",
    "***",
    "```\n<b>ends</b>",
    "~~~",
    "`` ` code",
    "*emphasis* __strong__ ~~gone~~ $x$",
    "a | b | c",
    "&lt; &#60;",
    "    indented code",
    "\tindented code",
    "ends in a backslash \\",
    "\\[a](b)",
    "\u202eright to left\x1b[8m",
    "long " * 1000,
)
INERT = {"inline", "paragraph_open", "paragraph_close", "text", "text_special"}
ACTIVE = {"html_inline", "html_block", "image", "link_open", "em_open", "strong_open", "s_open", "blockquote_open"}
PARSER = MarkdownIt("gfm-like", {"linkify": False}).enable(["table", "strikethrough"])


def kinds(text: str) -> list[str]:
    """Of all tokens."""
    return [token.type for token in tokens(text)]


def tokens(text: str) -> list[Token]:
    """All of them, whatever they lie in."""
    return [inner for token in PARSER.parse(text) for inner in (token, *(token.children or ()))]


@pytest.mark.parametrize("field", HOSTILE)
def test_a_field_is_text_in_every_position(field: str) -> None:
    for text in (as_text(field), f"Before {as_text(field)} after", f"{as_text(field)}\n{as_text(field)}"):
        assert set(kinds(text)) <= {*INERT, "softbreak"}, text
    table = kinds(f"| a | b |\n|---|---|\n| {as_text(field)} | c |")
    assert table.count("td_open") == 2 and not ACTIVE & set(table)
    code = [token for token in tokens(f"Before {as_code(field)} after") if token.type != "softbreak"]
    assert [token.type for token in code if token.type not in INERT] == ["code_inline"]
    assert len(as_text(field)) <= 3 * LONGEST and "\n" not in as_text(field) + as_code(field)


@pytest.mark.parametrize("field", ["S3D (RGB), stage 2-1 of 1.5", "Tänzer 日本", "a_b-c/d"])
def test_ordinary_fields_are_unchanged(field: str) -> None:
    assert as_text(field) == field


def test_random_punctuation_is_only_text() -> None:
    draw = random.Random(0)
    for _ in range(3000):
        field = "".join(draw.choice("\\`*_[]()<>#|&~!$@:/.-+=1a \n") for _ in range(draw.randrange(1, 14)))
        assert set(kinds(as_text(field))) <= INERT, (field, as_text(field))
        assert kinds(f"x {as_code(field)} y").count("code_inline") == 1, (field, as_code(field))


def test_values_that_are_not_strings_are_escaped() -> None:
    assert "![" not in str(escape_field(["![a](b)"])) and escape_field(3) == 3


@pytest.mark.parametrize("value", ["```", {"```": "\n```\n# a"}, ["```", "a" * 10**6], [[["```"]]]])
def test_a_code_block_cannot_be_closed_by_its_content(value: object) -> None:
    (fence,) = tokens(as_block(value) + "\n")
    assert fence.type == "fence" and len(fence.content) < 10**5


def written(card: dict[str, Any], folder: Path) -> str:
    """The card of a file of weights that says this of itself."""
    model = ModelConfig(backbone="tiny", embed_dim=8)
    torch.manual_seed(0)
    given = EncoderWeights("rgb", model, ClipConfig(frames=8, size=32), build_encoder(model).state_dict(), card)
    write_weights(folder / "encoder.safetensors", given)
    return card_text(read_weights(folder / "encoder.safetensors"), ["encoder.onnx", "encoder.safetensors"])


def test_a_malformed_card_is_refused(tmp_path: Path) -> None:
    written({}, tmp_path)
    file = tmp_path / "encoder.safetensors"
    with safe_open(file, framework="pt") as opened:
        header, tensors = opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    for card in ("[" * 100_000, "[]", '"text"'):
        save_file(tensors, file, {**header, "card": card})
        with pytest.raises(UserError, match="header"):
            read_weights(file)


def whole(text: str) -> dict[str, Any]:
    """A card in which every text is this one."""
    retrieval = {"name": text, "recall": {"1": 0.4, "5": 0.8}, "low": 0.3, "high": 0.5, "queries": 9}
    recipe = {**Config().model_dump(mode="json"), "name": text, text: text}
    data = {"test": 9, "train": 9, "classes": 3, "chance": 0.3}
    about = {"checkpoint": text, "step": 1, "epoch": 2.0, "warnings": [{"text": text}]}
    return {"recipe": recipe, "retrieval": retrieval, "data": data, **about}


@pytest.mark.parametrize("field", HOSTILE)
def test_untrusted_weights_cannot_add_structure_to_the_model_card(field: str, tmp_path: Path) -> None:
    card = written(whole(field), tmp_path)
    assert kinds(card) == kinds(written(whole("name"), tmp_path))
    assert not ACTIVE & set(kinds(card))


def test_warnings_are_complete_paragraphs_below_the_table(tmp_path: Path) -> None:
    warning = " ".join(f"Sentence {number} says something." for number in range(30))
    tokens = PARSER.parse(written({**whole("name"), "warnings": 2 * [{"text": warning}]}, tmp_path))
    alone = [token.content for before, token in pairwise(tokens) if before.type == "paragraph_open"]
    assert alone.count(warning) == 2


BROKEN: tuple[dict[str, Any], ...] = (
    {},
    {"recipe": "# heading"},
    {"recipe": {"name": ["![a](b)"]}},
    {**whole("a"), "retrieval": {"recall": {"# a": 1}}},
    {**whole("a"), "data": None},
    {**whole("a"), "epoch": "<b>"},
    {**whole("a"), "epoch": float("nan")},
    {**whole("a"), "step": 10**400},
    {**whole("a"), "warnings": "```"},
    {"source": "```\n# a", "also": {"<b>": [1, None]}},
)


@pytest.mark.parametrize("card", BROKEN)
def test_an_unfamiliar_card_is_shown_unchanged(card: dict[str, Any], tmp_path: Path) -> None:
    text = written(card, tmp_path)
    headings = [token for token in tokens(text) if token.type == "heading_open"]
    assert not ACTIVE & set(kinds(text)) and len(headings) <= 3
    block = next(token for token in tokens(text) if token.type == "fence" and token.info == "json")
    shown = json.loads(block.content)
    assert json.dumps(shown) in (json.dumps(card), json.dumps(card.get("recipe")))
