"""Audit of version floors in pyproject.toml and of pins against the security advisories in advisories.json.

usage: python requirements/audit.py [--root DIR] [--renew --index URL]

    --renew   query a package index for advisories of all floors and pins, and add new ones to the list
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
MAX_SUMMARY_CHARS = 100
"""Length to which the summary of an advisory is cut."""


class AllowedVersion(NamedTuple):
    """Lowest version of a package that a requirement line allows."""

    place: str
    package: str
    version: str
    is_floor: bool


class Advisory(NamedTuple):
    """Security advisory of a package."""

    package: str
    affected: str
    id: str
    what: str

    def applies_to(self, allowed: AllowedVersion) -> bool:
        """Whether a pin is affected, or a version that a floor allows."""
        if allowed.package != self.package:
            return False
        affected, version = SpecifierSet(self.affected), Version(allowed.version)
        if not allowed.is_floor:
            return affected.contains(version, prereleases=True)
        return any(version < Version(end.version) for end in affected if end.operator in ("<", "<="))


def floors(root: Path) -> Iterator[AllowedVersion]:
    """Floors of pyproject.toml.

    Raises:
        ValueError: a requirement has no floor.
    """
    content = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    project = content["project"]
    lines = [*content["build-system"]["requires"], *project["dependencies"]]
    for extra in project.get("optional-dependencies", {}).values():
        lines += extra
    for line in lines:
        requirement = Requirement(line)
        lowest = [part.version for part in requirement.specifier if part.operator in (">=", "==", "~=")]
        if not lowest:
            raise ValueError(f"pyproject.toml: {line!r} has no lowest version")
        yield AllowedVersion(f"pyproject.toml: {line}", canonicalize_name(requirement.name), lowest[0], True)


def pins(root: Path) -> Iterator[AllowedVersion]:
    """Pins of requirements/*.txt."""
    for file in sorted((root / "requirements").glob("*.txt")):
        for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", file.read_text("utf-8"), re.MULTILINE):
            yield AllowedVersion(
                f"{file.relative_to(root)}: {name}=={version}", canonicalize_name(name), version, False
            )


def problems(known: dict[str, Any], versions: list[AllowedVersion]) -> list[str]:
    """One line per advisory that applies and is not accepted."""
    accepted = {(entry["package"], entry["id"], Version(entry["version"])) for entry in known["accepted"]}
    return [
        f"{one.place}: {advisory.id} ({advisory.what}); not {advisory.affected}"
        for one in versions
        for advisory in (Advisory(**entry) for entry in known["advisories"])
        if advisory.applies_to(one) and (one.package, advisory.id, Version(one.version)) not in accepted
    ]


def renewed(known: dict[str, Any], versions: list[AllowedVersion], index: str) -> dict[str, Any]:
    """List of advisories, extended by the index's advisories of these versions, with today's date."""
    advisories = {(entry["package"], entry["id"], entry["affected"]): entry for entry in known["advisories"]}
    names = {(entry["package"], entry["id"]) for entry in known["advisories"]}
    for package, version in sorted({(one.package, one.version) for one in versions}):
        for record in _index_advisories(index, package, version):
            id = next((name for name in record.get("aliases", []) if name.startswith("CVE-")), record["id"])
            ends = sorted(record.get("fixed_in") or [], key=Version)
            later = [end for end in ends if Version(end) > Version(version)]
            affected = f"<{later[0]}" if later else f"<={version}"
            if not {id, record["id"]} & {name for at, name in names if at == package}:
                what = " ".join((record.get("summary") or record.get("details") or "").split())[:MAX_SUMMARY_CHARS]
                advisories[package, id, affected] = {"package": package, "affected": affected, "id": id, "what": what}
    return {
        "date": date.today().isoformat(),
        "advisories": [advisories[key] for key in sorted(advisories)],
        "accepted": known["accepted"],
    }


def _index_advisories(index: str, package: str, version: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{index}/{package}/{version}/json", timeout=60) as answer:
        records: list[dict[str, Any]] = json.load(answer).get("vulnerabilities") or []
    return [record for record in records if not record.get("withdrawn")]


def write(file: Path, known: dict[str, Any]) -> None:
    """Write the list with one line per entry."""
    parts = [f' "date": {json.dumps(known["date"])}']
    for key in ("advisories", "accepted"):
        lines = ",\n".join("  " + json.dumps(entry) for entry in known[key])
        parts.append(f' "{key}": [\n{lines}\n ]')
    file.write_text("{\n" + ",\n".join(parts) + "\n}\n", "utf-8")


def main() -> int:
    """Print each problem on stderr; return 1 if there is any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--renew", action="store_true")
    parser.add_argument("--index", help="address of PyPI's JSON API, the parent of PACKAGE/VERSION/json")
    options = parser.parse_args()
    file = options.root / LIST
    known = json.loads(file.read_text("utf-8"))
    versions = [*floors(options.root), *pins(options.root)]
    if options.renew and not options.index:
        parser.error("--renew queries a package index: give its address with --index")
    if options.renew:
        known = renewed(known, versions, options.index)
        write(file, known)
    errors = problems(known, versions)
    for line in errors:
        print(f"error: {line}", file=sys.stderr)
    count = len(known["advisories"])
    print(f"audit: {len(errors)} problems in {len(versions)} floors and pins, by {count} advisories of {known['date']}")
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main())
