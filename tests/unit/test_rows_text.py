"""Rows as CSV, which a spreadsheet may open, and as a table, which a narrow terminal shows."""

import pytest
from rich.console import Console
from tickstockpl.ops.cli.parts import rows_text
from tickstockpl.ops.cli.parts.rows_text import write_rows


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1+1", "'+1+1"),
        ("-2+3", "'-2+3"),
        ("@SUM(1)", "'@SUM(1)"),
        ("=cmd|'/C calc'!A0", "'=cmd|'/C calc'!A0"),
        ('=HYPERLINK("x")', '"\'=HYPERLINK(""x"")"'),
        ("BRK.B", "BRK.B"),
        ("-1.5", "-1.5"),
        ("-1e-07", "-1e-07"),
        (-1.5, "-1.5"),
        (None, '""'),
    ],
)
def test_no_text_becomes_a_formula_and_every_number_stays_one(tmp_path, value, cell):
    file = tmp_path / "rows.csv"
    write_rows(["symbol"], iter([(value,)]), "csv", file)
    assert file.read_text() == f"symbol\n{cell}\n"


def in_80_columns(monkeypatch, tmp_path, columns, *row):
    monkeypatch.setattr(
        rows_text, "make_console", lambda file: Console(file=file, width=80, force_terminal=True, color_system=None)
    )
    file = tmp_path / "rows.txt"
    write_rows(columns, iter([row]), "table", file)
    return file.read_text()


def test_a_narrow_terminal_cuts_no_time_and_no_number(tmp_path, monkeypatch):
    columns = ["symbol", "timestamp", "open", "high", "low", "close", "volume", "trade_count", "vwap"]
    prices = ["1267.04", "1267.64", "1266.99", "1267.54"]
    text = in_80_columns(
        monkeypatch, tmp_path, columns, "AAPL", "2025-06-02 13:38", *prices, "1812033.006612", "10454", "1267.315454"
    )
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "AAPL   2025-06-02 13:38 1267.04 1267.64 1266.99 1267.54" in text
    assert "…" not in text


def test_a_flow_id_leaves_the_other_columns_whole(tmp_path, monkeypatch):
    columns = ["symbol", "bar", "timeframe", "pattern", "confidence", "direction", "flow_id"]
    flow_id = "4c8509b0-aa50-598c-9f80-10f287b4e355"
    text = in_80_columns(
        monkeypatch,
        tmp_path,
        columns,
        "AAPL",
        "2025-06-02 13:38",
        "1min",
        "EngulfingPattern",
        "1.00",
        "bullish",
        flow_id,
    )
    assert "AAPL   2025-06-02 13:38 1min      EngulfingPattern 1.00       bullish   " + flow_id in text
