"""What ``docs/conformance-classic.md`` says that a judge shows: `` `wire-classic: abort/*` ``, a name or a pattern of names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conformance-classic.md"
CLAIM = re.compile(r"`(classic-client|wire-classic): ([^`]+)`")
DIFFERENT = re.compile(r"\b(?:different|not served): ")


def claims(judge: str) -> Iterator[tuple[str, bool]]:
    """``(pattern, whether the row tells of a difference)`` of each claim about a judge."""
    for line in PAGE.read_text().splitlines():
        if line.startswith("|"):
            for name, pattern in CLAIM.findall(line):
                if name == judge:
                    yield pattern, DIFFERENT.search(line) is not None


def unproven(judge: str, names: Collection[str], differing: Collection[str]) -> list[str]:
    """What is wrong with the claims about a judge, after it ran all its cases."""
    found = []
    for pattern, tells_difference in dict.fromkeys(claims(judge)):
        matching = [name for name in names if fnmatchcase(name, pattern)]
        if not matching:
            found.append(f"the page names {pattern}, which was not run")
        elif not tells_difference and (against := [name for name in matching if name in differing]):
            found.append(f"the page says that {pattern} shows a rule, but it differs: {', '.join(against)}")
    return found
