"""The table of docs/conformance-core.md: every row has a test that exists, or a reason."""

from __future__ import annotations

import pytest

from tests.conformance.table import TESTS, Row, TableTests, problems, read_rows

PAGE = TESTS.parent / "docs" / "conformance-core.md"
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


class TestTheTable(TableTests):
    page = PAGE.read_text()
    sections = SECTIONS
    judges = ("core-client", "wire")


@pytest.mark.parametrize("row", read_rows(TestTheTable.page), ids=lambda row: f"{row.section} line {row.line}")
def test_a_row_has_a_test_that_exists_or_a_reason(row: Row) -> None:
    assert row.section in SECTIONS
    assert row.rule
    assert not problems(row)


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
