"""The tables of ``docs/conformance-*.md``: their rows, and what a row must name."""

from __future__ import annotations

import ast
import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["TESTS", "Row", "TableTests", "problems", "read_rows"]

TESTS = Path(__file__).parent.parent
KNOWN_DIFFERENCES = TESTS / "peers" / "known_differences.json"
TEST_ID = re.compile(r"`([^`]+?\.(?:py|mjs))::([^`]+)`")
REASON = re.compile(r"\b(?:different|not served): (.+)")
SHORTEST_REASON = 20
CELL_END = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Row:
    """One rule."""

    line: int
    section: str
    rule: str
    evidence: str

    @property
    def tests(self) -> list[tuple[str, str]]:
        """``(path, name)`` of each test it names."""
        return TEST_ID.findall(self.evidence)

    @property
    def reason(self) -> str:
        """Why it is different or not served, without the tests named in it."""
        match = REASON.search(self.evidence)
        return "" if match is None else TEST_ID.sub("", match[1]).strip(" ()")


def read_rows(text: str) -> list[Row]:
    """The rows of all tables, their heads left out."""
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("|") or line.startswith(("| §", "|--")):
            continue
        cells = [cell.strip() for cell in CELL_END.split(line)]
        assert len(cells) == 5, f"line {number} has not three cells: {line}"
        rows.append(Row(number, *cells[1:4]))
    return rows


@functools.cache
def names_of_tests(path: Path) -> frozenset[str]:
    """The tests of a file, found without running it."""
    if path.suffix == ".mjs":
        found = re.findall(r"^ *test\('((?:[^'\\]|\\.)+)'", path.read_text(), re.MULTILINE)
        return frozenset(name.replace("\\'", "'") for name in found)
    names: set[str] = set()

    def collect(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
                names.add(prefix + node.name)
            elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
                collect(node.body, f"{prefix}{node.name}::")
            elif isinstance(node, ast.Assign):  # of a state machine's test case
                names.update(target.id for target in node.targets if isinstance(target, ast.Name) and target.id.startswith("Test"))

    collect(ast.parse(path.read_text()).body, "")
    return frozenset(names)


def problems(row: Row) -> list[str]:
    """What is wrong with a row."""
    found = []
    for file, name in row.tests:
        path = TESTS / file
        if not path.is_file():
            found.append(f"there is no file {file}")
        elif name not in names_of_tests(path):
            found.append(f"{file} has no test {name!r}")
    if not row.tests and len(row.reason) < SHORTEST_REASON:
        found.append("neither a test nor a reason")
    if REASON.search(row.evidence) and len(row.reason) < SHORTEST_REASON:
        found.append("a difference without a reason")
    if TEST_ID.sub("", row.evidence).count("::"):
        found.append("a test that is not named as `path::name`")
    return found


class TableTests:
    """
    What holds for the table of either generation.

    Attributes:
        page: The text of the page.
        sections: Those of the reference that have rules.
        judges: Names of the recordings, as in the list of known differences.
    """

    page: str
    sections: set[str]
    judges: tuple[str, ...]

    def test_every_section_has_a_row(self) -> None:
        assert {row.section for row in read_rows(self.page)} == self.sections

    def test_no_rule_is_there_twice(self) -> None:
        rules = [(row.section, row.rule) for row in read_rows(self.page)]
        assert len(set(rules)) == len(rules)

    def test_every_difference_of_the_recordings_is_on_the_page(self) -> None:
        """With its reason, word by word."""
        known = json.loads(KNOWN_DIFFERENCES.read_text())
        entries = [entry for judge in self.judges for entry in known[judge]]
        for entry in entries:
            assert f"- `{entry['pattern']}`: {entry['reason']}\n" in self.page
        assert len(re.findall("^- `.+?`: ", self.page, re.MULTILINE)) == len(entries)
