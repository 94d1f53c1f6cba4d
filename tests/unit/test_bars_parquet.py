"""A folder of days is one table for DuckDB and for polars."""

from datetime import UTC, date, datetime
from decimal import Decimal

import duckdb
import polars as pl
import pytest
from tickstockpl.db.rows import BAR
from tickstockpl.ops.output.bars_parquet import write_days

# The first one is of the evening before in New York.
TIMES = [
    datetime(2026, 3, 4, 0, 30, tzinfo=UTC),
    datetime(2026, 3, 4, 15, tzinfo=UTC),
    datetime(2026, 3, 5, 15, tzinfo=UTC),
]
OPENED = Decimal("10.000001")
WANTED = [
    ("F", date(2026, 3, 3), TIMES[0], OPENED, Decimal("11.5")),
    ("F", date(2026, 3, 4), TIMES[1], OPENED, Decimal("11.5")),
    ("F", date(2026, 3, 5), TIMES[2], OPENED, Decimal(11)),
]


def bars(times, close):
    """Return a bar of two symbols at each of these times."""
    prices = (OPENED, Decimal(12), Decimal(9), Decimal(close), Decimal(7))
    return ((symbol, at, *prices, None, None, None) for symbol in "FG" for at in times)


@pytest.fixture
def folder(tmp_path):
    """Return a folder of three days, the last of them written twice."""
    assert write_days(bars(TIMES, "11.5"), tmp_path, BAR) == 3
    assert write_days(bars(TIMES[2:], "11"), tmp_path, BAR) == 1
    return tmp_path


def test_duckdb_reads_it(folder):
    with duckdb.connect() as database:
        read = database.sql(
            f"""SELECT symbol, day, "timestamp" AT TIME ZONE 'UTC', open, close FROM '{folder}/*/*.parquet'
                 WHERE symbol = 'F' ORDER BY day"""
        ).fetchall()
    assert [(symbol, day, at.replace(tzinfo=UTC), *prices) for symbol, day, at, *prices in read] == WANTED


def test_polars_reads_it(folder):
    frame = pl.read_parquet(folder, hive_partitioning=True)
    assert frame.height == 6
    assert frame.filter(symbol="F").sort("day").select("symbol", "day", "timestamp", "open", "close").rows() == WANTED


def test_a_run_that_stops_in_the_middle_leaves_every_day_as_it_was(folder):
    def stopped():
        yield from bars(TIMES, "9")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_days(stopped(), folder, BAR)
    test_polars_reads_it(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["day=2026-03-03", "day=2026-03-04", "day=2026-03-05"]
