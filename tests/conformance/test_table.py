"""The table of docs/conformance-core.md: every row has a test that exists, or a reason."""

from __future__ import annotations

import ast
import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent / "docs" / "conformance-core.md"
KNOWN_DIFFERENCES = TESTS / "peers" / "known_differences.json"
SECTIONS = {
    *(f"1.{number}" for number in range(1, 7)),
    *(f"2.{number}" for number in range(1, 8)),
    "3",
    *(f"4.{number}" for number in range(1, 10)),
    *(f"5.{number}" for number in range(1, 9)),
    "6",
    *(f"7.{number}" for number in range(1, 6)),
    "8",
    "9",
    *(f"12.{number}" for number in range(1, 28)),
}
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


ROWS = read_rows(PAGE.read_text())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.section} line {row.line}")
def test_a_row_has_a_test_that_exists_or_a_reason(row: Row) -> None:
    assert row.section in SECTIONS
    assert row.rule
    assert not problems(row)


def test_every_section_has_a_row() -> None:
    assert {row.section for row in ROWS} == SECTIONS


def test_no_rule_is_there_twice() -> None:
    rules = [(row.section, row.rule) for row in ROWS]
    assert len(set(rules)) == len(rules)


def test_every_difference_of_the_recordings_is_on_the_page() -> None:
    """With its reason, word by word."""
    page, known = PAGE.read_text(), json.loads(KNOWN_DIFFERENCES.read_text())
    for entry in known["core-client"] + known["wire"]:
        assert f"- `{entry['pattern']}`: {entry['reason']}\n" in page
    assert len(re.findall(r"^- `", page, re.MULTILINE)) == len(known["core-client"] + known["wire"])


@pytest.mark.parametrize(
    ("evidence", "problem"),
    [
        ("`unit/protocols/test_sse.py::test_only_line_feeds_split`", None),
        ("`clients/node/calls.test.mjs::text of any kind survives`", None),
        ("`django/test_recorder.py::TestBatches::test_refusals_and_negotiations_make_no_connection`", None),
        ("`unit/protocols/test_replay_machine.py::TestInJson`", None),
        ("different: nobody ever needs that", None),
        ("not served: nobody ever needs that (`unit/protocols/test_sse.py::test_only_line_feeds_split`)", None),
        ("", "neither a test nor a reason"),
        ("it is so", "neither a test nor a reason"),
        ("different: why", "neither a test nor a reason"),
        ("`unit/protocols/test_sse.py::test_only_line_feeds_split` different: no", "a difference without a reason"),
        ("`unit/protocols/test_sse.py::test_gone`", "unit/protocols/test_sse.py has no test 'test_gone'"),
        ("`clients/node/calls.test.mjs::gone`", "clients/node/calls.test.mjs has no test 'gone'"),
        ("`unit/test_gone.py::test_gone`", "there is no file unit/test_gone.py"),
        ("unit/protocols/test_sse.py::test_only_line_feeds_split", "a test that is not named as `path::name`"),
    ],
)
def test_this_test_sees_what_it_should(evidence: str, problem: str | None) -> None:
    found = problems(Row(1, "1.1", "a rule", evidence))
    assert found == [] if problem is None else problem in found
