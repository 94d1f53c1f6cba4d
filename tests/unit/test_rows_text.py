"""Rows as CSV, which a spreadsheet may open."""

import pytest
from tickstockpl.ops.cli.rows_text import write_rows


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
