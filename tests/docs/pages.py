"""The documentation pages: their text, the commands on them, and the anchors of their headings."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOT_PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
PAGES = [*ROOT_PAGES, *sorted((ROOT / "docs").rglob("*.md"))]
ELSEWHERE = re.compile(r"ray exec \S+ '(?:\w+=\S+ )*(vicc-ray [^']+)'|kubectl exec \S+ -- (vicc-ray .+)")

FILE_SUFFIXES = {"csv", "json", "jsonl", "md", "py", "toml", "txt", "yaml", "parquet", "mp4"}


def name_of(page: Path) -> str:
    """Its path in the project, as the name of a test."""
    return str(page.relative_to(ROOT))


def commands(text: str) -> list[list[str]]:
    """The words of every command of ``vicc-ray``: of lines, and of spans that have no PLACEHOLDER."""
    lines = [line.strip().removeprefix("$ ") for line in text.replace("\\\n", " ").splitlines()]
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]
    lines += [span for span in spans if not re.search(r"\b[A-Z]{2,}\b", span)]
    lines = ["".join(match.groups("")) if (match := ELSEWHERE.fullmatch(line)) else line for line in lines]
    words = [shlex.split(line.split(" > ")[0], comments=True)[1:] for line in lines if line.startswith("vicc-ray ")]
    return [command for command in words if len(command) > 1 and not command[0].startswith("-")]


def settings(text: str) -> set[str]:
    """``section.name`` of everything between backticks or after ``--set`` that looks like a setting."""
    spans = re.findall(r"`([^`\n]+)`", text) + re.findall(r"--set '?(\S+)", text)
    keys = {match[0] for span in spans if (match := re.match(r"[a-z_0-9]+\.[a-z_0-9]+(?=$|[=: ])", span))}
    return {key for key in keys if key.split(".")[1] not in FILE_SUFFIXES}


def anchors(text: str) -> set[str]:
    """Of the headings, as GitHub and MkDocs both make them."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in re.findall(r"^#+ (.+)$", prose, re.M)}
