"""docs/security.md says which test holds each of its promises: those tests are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTIES = ("the application", "a producer", "a worker", "a bridge", "an operator", "a local user", "a vendor", "a file")


@pytest.fixture(scope="module")
def rows():
    text = (ROOT / "docs" / "security.md").read_text()
    table = text.partition("## Who can do what to whom")[2].partition("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"][2:]


def test_everybody_who_can_do_something_stands_in_the_table(rows):
    assert [party for party in PARTIES if party not in {who for who, *_ in rows}] == []


def test_each_row_says_what_bounds_it_and_names_tests_that_are_there(rows):
    sources = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    there = {name for source in sources for name in re.findall(r"^\s*def (test_\w+)\(", source, re.MULTILINE)}
    for who, can, bound, tests in rows:
        named = re.findall(r"`(\w+)`", tests)
        assert can, who
        assert bound, who
        assert named, f"{who}: no test holds that it can only {can}"
        assert [name for name in named if name not in there] == []
