"""`tickstock splits`, and what detectors do with them."""

import pytest
from tickstockpl.db import postgres

from .test_detection import OPENING_S, calm, enable_every_indicator, replay, rows, seeded, stored_indicators, write

__all__ = ["seeded"]
HEADER = "symbol,ex_date,ratio"
NEXT_DAY = "2013-10-08"


def split_file(tmp_path, *lines):
    file = tmp_path / "splits.csv"
    file.write_text("\n".join([HEADER, *lines]) + "\n")
    return file


def test_splits_are_imported_listed_and_never_overwritten(tickstock, seeded, tmp_path):
    file = split_file(tmp_path, "AIG,2013-10-08,5:4", "BAC,2013-10-09,0.125")
    assert tickstock("splits", "import", file, servers=seeded).stdout == "2 splits added, 0 existed\n"
    assert tickstock("splits", "import", file, servers=seeded).stdout == "0 splits added, 2 existed\n"
    listed = tickstock("splits", "ls", "--json", servers=seeded).stdout.splitlines()
    assert listed == [
        '{"symbol":"AIG","ex_date":"2013-10-08","ratio":"5:4"}',
        '{"symbol":"BAC","ex_date":"2013-10-09","ratio":"1:8"}',
    ]
    ran = tickstock("splits", "import", split_file(tmp_path, "IBM,2013-10-08,2", "AIG,2013-10-08,2"), servers=seeded)
    assert ran.returncode == 2
    assert "AIG on 2013-10-08 is 2:1, but the table has 5:4" in ran.stderr
    assert tickstock("splits", "ls", "IBM", servers=seeded).stdout.startswith("no splits")


@pytest.mark.parametrize("order", ["before the bars", "between the days"])
def test_a_small_split_that_is_imported_begins_the_history_anew(order, *, tickstock, seeded, tmp_path):
    """5 for 4: no jump of the price tells it."""
    enable_every_indicator(seeded)
    first, second = calm("AIG", 0, 100.0, 1000), calm("AIG", 1, 80.0, 1250)
    other = [*calm("BAC", 0, 100.0, 1000), *calm("BAC", 1, 80.0, 1250)]  # the same prices, and no split
    if order == "between the days":
        replay(tickstock, seeded, write(tmp_path / "1.csv", first))
    ran = tickstock("splits", "import", split_file(tmp_path, f"AIG,{NEXT_DAY},5:4"), servers=seeded)
    assert ran.returncode == 0, ran.stderr
    if order == "between the days":
        replay(tickstock, seeded, write(tmp_path / "2.csv", [*second, *other]))
    else:
        replay(tickstock, seeded, write(tmp_path / "both.csv", [*first, *second, *other]))
    found = stored_indicators(seeded)
    with postgres.connect(seeded.database_url, name="test") as connection:
        (ex_date,) = connection.execute("SELECT timestamptz '2013-10-08 00:00 America/New_York'").fetchone()
    for symbol, least, most in (("AIG", 79.5, 80.5), ("BAC", 79.5, 100.5)):
        averages = [
            value
            for (name, timeframe, at, indicator, _), value in found.items()
            if (name, timeframe, indicator) == (symbol, "1min", "SMA_50") and at > ex_date
        ]
        assert averages
        assert least < min(averages) <= max(averages) < most
        assert max(averages) > most - 1.2
    breakdown = (
        "SELECT DISTINCT symbol FROM intraday_patterns WHERE pattern_type = 'Volume_Spike'"
        " AND detection_timestamp > to_timestamp(%s)"
    )
    assert ("AIG",) not in rows(seeded, breakdown, OPENING_S + 86_400)
