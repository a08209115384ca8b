"""Whether pyproject.toml lets in a version with a known fault, or a pin is one: against advisories.json beside this.

usage: python requirements/audit.py [--root DIR] [--renew --index URL]

    --renew   ask a package index for the advisories of all floors and pins, and add what is new to the list
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

LIST = "requirements/advisories.json"
SHORTEST = 100
"""Characters that are kept of what an index tells of an advisory."""


class Given(NamedTuple):
    """The lowest version of a package that a line lets in."""

    place: str
    package: str
    version: str
    is_floor: bool


class Fault(NamedTuple):
    """One advisory."""

    package: str
    affected: str
    id: str
    what: str

    def hits(self, given: Given) -> bool:
        """Whether a pin is among the affected, or versions from a floor on are."""
        if given.package != self.package:
            return False
        affected, version = SpecifierSet(self.affected), Version(given.version)
        if not given.is_floor:
            return affected.contains(version, prereleases=True)
        return any(version < Version(end.version) for end in affected if end.operator in ("<", "<="))


def floors(root: Path) -> Iterator[Given]:
    """Of pyproject.toml.

    Raises:
        ValueError: a requirement has none.
    """
    content = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    project = content["project"]
    lines = [*content["build-system"]["requires"], *project["dependencies"]]
    for extra in project.get("optional-dependencies", {}).values():
        lines += extra
    for line in lines:
        wanted = Requirement(line)
        lowest = [part.version for part in wanted.specifier if part.operator in (">=", "==", "~=")]
        if not lowest:
            raise ValueError(f"pyproject.toml: {line!r} has no lowest version")
        yield Given(f"pyproject.toml: {line}", canonicalize_name(wanted.name), lowest[0], True)


def pins(root: Path) -> Iterator[Given]:
    """Of requirements/*.txt."""
    for file in sorted((root / "requirements").glob("*.txt")):
        for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", file.read_text("utf-8"), re.MULTILINE):
            yield Given(f"{file.relative_to(root)}: {name}=={version}", canonicalize_name(name), version, False)


def problems(known: dict[str, Any], given: list[Given]) -> list[str]:
    """One line for each advisory that hits."""
    accepted = {(entry["package"], entry["id"], Version(entry["version"])) for entry in known["accepted"]}
    return [
        f"{one.place}: {fault.id} ({fault.what}); not {fault.affected}"
        for one in given
        for fault in (Fault(**entry) for entry in known["advisories"])
        if fault.hits(one) and (one.package, fault.id, Version(one.version)) not in accepted
    ]


def renewed(known: dict[str, Any], given: list[Given], index: str) -> dict[str, Any]:
    """The list with what the index knows of these versions beside, and today's date."""
    found = {(entry["package"], entry["id"], entry["affected"]): entry for entry in known["advisories"]}
    names = {(entry["package"], entry["id"]) for entry in known["advisories"]}
    for package, version in sorted({(one.package, one.version) for one in given}):
        for told in _told(index, package, version):
            id = next((name for name in told.get("aliases", []) if name.startswith("CVE-")), told["id"])
            ends = sorted(told.get("fixed_in") or [], key=Version)
            later = [end for end in ends if Version(end) > Version(version)]
            affected = f"<{later[0]}" if later else f"<={version}"
            if not {id, told["id"]} & {name for at, name in names if at == package}:
                what = " ".join((told.get("summary") or told.get("details") or "").split())[:SHORTEST]
                found[package, id, affected] = {"package": package, "affected": affected, "id": id, "what": what}
    return {
        "date": date.today().isoformat(),
        "advisories": [found[key] for key in sorted(found)],
        "accepted": known["accepted"],
    }


def _told(index: str, package: str, version: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{index}/{package}/{version}/json", timeout=60) as answer:
        told: list[dict[str, Any]] = json.load(answer).get("vulnerabilities") or []
    return [one for one in told if not one.get("withdrawn")]


def write(file: Path, known: dict[str, Any]) -> None:
    """One line an entry."""
    parts = [f' "date": {json.dumps(known["date"])}']
    for key in ("advisories", "accepted"):
        lines = ",\n".join("  " + json.dumps(entry) for entry in known[key])
        parts.append(f' "{key}": [\n{lines}\n ]')
    file.write_text("{\n" + ",\n".join(parts) + "\n}\n", "utf-8")


def main() -> int:
    """Print each problem on stderr; 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--renew", action="store_true")
    parser.add_argument("--index", help="address of PyPI's JSON API, below which PACKAGE/VERSION/json are")
    options = parser.parse_args()
    file = options.root / LIST
    known = json.loads(file.read_text("utf-8"))
    given = [*floors(options.root), *pins(options.root)]
    if options.renew and not options.index:
        parser.error("--renew asks a package index: give its address by --index")
    if options.renew:
        known = renewed(known, given, options.index)
        write(file, known)
    found = problems(known, given)
    for line in found:
        print(f"error: {line}", file=sys.stderr)
    count = len(known["advisories"])
    print(f"audit: {len(found)} problems in {len(given)} floors and pins, by {count} advisories of {known['date']}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
