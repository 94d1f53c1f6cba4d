"""The ledger fits a terminal of 80 columns, whatever has happened; a file gets every column."""

import io
import sys

import pytest
from tickstockpl.ops.audit.ledger import LedgerRow
from tickstockpl.ops.audit.ledger_table import print_ledger

NAME = "replay-0123456789abcdef0123456789abcdef"
GOOD = LedgerRow(NAME, 123_456_789, 123_456_789, *[0] * 8)
TROUBLED = LedgerRow(NAME, 123_456_789, 23_456_789, *[10_000_000] * 7, 0)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def printed(monkeypatch):
    def run(rows, out, width="80"):
        monkeypatch.setenv("COLUMNS", width)
        monkeypatch.setenv("TERM", "dumb")
        monkeypatch.setattr(sys, "stdout", out)
        print_ledger(rows)
        return out.getvalue().splitlines()

    return run


@pytest.mark.parametrize("rows", [[GOOD], [TROUBLED], [GOOD, TROUBLED] * 3])
def test_a_terminal_of_80_columns_is_wide_enough(printed, rows):
    lines = printed(rows, Terminal())
    assert max(map(len, lines)) <= 80
    assert sum(line.count("123,456,789") for line in lines) >= len(rows)


def test_what_did_not_happen_has_no_column(printed):
    text = "\n".join(printed([GOOD], Terminal()))
    assert "applied" in text
    assert "too late" not in text


def test_what_does_not_fit_beside_stands_below(printed):
    lines = printed([TROUBLED], Terminal())
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert rows[0] == ["ticks in", "123,456,789"]
    assert ["too late", "10,000,000"] in rows
    assert rows[-1] == ["balance", "+30,000,000"]


def test_a_file_gets_every_column(printed):
    header = printed([GOOD], io.StringIO())[1]
    assert [name.strip() for name in header.strip("┃").split("┃")] == [
        "producer", "ticks in", "applied", "quote or zero", "refused", "future", "too late", "superseded", "lost",
        "repeated", "balance",
    ]  # fmt: skip
