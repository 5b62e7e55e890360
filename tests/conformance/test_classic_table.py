"""
The table of docs/conformance-classic.md: every row has a test that exists, a judge's case, or a reason.

That the judges have their cases, and that these agree, is checked when they run (``make peers``).
"""

from __future__ import annotations

import dataclasses
import re

import pytest

from tests.conformance.table import TESTS, Row, TableTests, problems, read_rows
from tests.peers.evidence import CLAIM, PAGE

SECTIONS = {
    *(f"1.{number}" for number in range(1, 7)),
    *(f"2.{number}" for number in range(1, 4)),
    "3",
    *(f"4.{number}" for number in range(1, 10)),
    *(f"5.{number}" for number in range(1, 8)),
    *(f"6.{number}" for number in range(1, 11)),
    *(f"7.{number}" for number in range(1, 6)),
    *(f"8.{number}" for number in range(1, 5)),
    "9",
    "10.8",
    *(f"12.{number}" for number in range(1, 18)),
    "13",
}
LIFETIME = re.compile(r"(`browser/test_classic_lifetime\.py::test_lifetime)\[([^\]`]+)\]`")
LIFETIME_ROWS = TESTS / "browser" / "classic_rows.py"
PLACEHOLDER = "a judge of make peers shows it"


def classic_problems(row: Row) -> list[str]:
    """What is wrong with a row that may also name cases of judges, and rows of the table of lifetimes."""
    names = LIFETIME_ROWS.read_text()
    found = [f"there is no row {row_name!r}" for _, row_name in LIFETIME.findall(row.evidence) if f'"{row_name}"' not in names]
    evidence = LIFETIME.sub(r"\1`", row.evidence)
    if CLAIM.search(evidence) and "different: " not in evidence:
        evidence = f"different: {PLACEHOLDER} {CLAIM.sub('', evidence)}"  # as good as a test
    else:
        evidence = CLAIM.sub("", evidence)
    return found + problems(dataclasses.replace(row, evidence=evidence))


class TestTheTable(TableTests):
    page = PAGE.read_text()
    sections = SECTIONS
    judges = ("classic-client", "wire-classic")


@pytest.mark.parametrize("row", read_rows(TestTheTable.page), ids=lambda row: f"{row.section} line {row.line}")
def test_a_row_has_a_test_that_exists_a_judge_or_a_reason(row: Row) -> None:
    assert row.section in SECTIONS
    assert row.rule
    assert not classic_problems(row)


@pytest.mark.parametrize(
    ("evidence", "problem"),
    [
        ("`unit/protocols/test_sse.py::test_only_line_feeds_split`", None),
        ("`wire-classic: abort/*`", None),
        ("`classic-client: Echo*` `unit/protocols/test_sse.py::test_only_line_feeds_split`", None),
        ("`browser/test_classic_lifetime.py::test_lifetime[the page crashes]`", None),
        ("different: nobody ever needs that (`wire-classic: abort/*`)", None),
        ("`wire-classic: abort/*` different: why", "a difference without a reason"),
        ("`browser/test_classic_lifetime.py::test_lifetime[the page smiles]`", "there is no row 'the page smiles'"),
        ("`wire-classic: abort/*` `unit/test_gone.py::test_gone`", "there is no file unit/test_gone.py"),
        ("`other-judge: abort/*`", "neither a test nor a reason"),
    ],
)
def test_this_test_sees_what_it_should(evidence: str, problem: str | None) -> None:
    found = classic_problems(Row(1, "1.1", "a rule", evidence))
    assert found == [] if problem is None else problem in found
