"""`tickstock backtest` on real servers: bars of days and minutes in, a report and files out."""

import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import psycopg
import pyarrow.parquet as pq
import pytest
from tickstockpl.db.postgres import connect
from tickstockpl.db.tables.backtests import load_minutes

DAYS = [
    date(2025, 1, 2) + timedelta(days=n) for n in range(120) if (date(2025, 1, 2) + timedelta(days=n)).weekday() < 5
]
QUIET = (100.0, 100.6, 99.4, 100.2)
HAMMER = (100.0, 100.15, 96.0, 100.1)  # its lower shadow is forty times its body
INSERT = "INSERT INTO ohlcv_daily (symbol, date, open, high, low, close, volume) VALUES (%s, %s, %s, %s, %s, %s, 1e6)"


@pytest.fixture
def market(migrated_servers):
    """Two symbols: A falls to a hammer on its 60th day and rises behind it, B stays where it is."""
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as database:
        database.execute("INSERT INTO symbols (symbol) VALUES ('A'), ('B')")
        fall = [tuple(np.round(np.array(QUIET) + 60 - n, 4).tolist()) for n in range(60)]
        rise = [tuple(np.round(np.array(QUIET) + 3 * n, 4).tolist()) for n in range(len(DAYS) - 61)]
        rows = [("A", day, bar) for day, bar in zip(DAYS, [*fall, HAMMER, *rise], strict=True)]
        rows += [("B", day, QUIET) for day in DAYS]
        with database.cursor() as cursor:
            cursor.executemany(INSERT, [(symbol, day, *bar) for symbol, day, bar in rows])
        yield migrated_servers


def backtest(tickstock, servers, *options):
    span = ("--from", str(DAYS[0]), "--to", str(DAYS[-1]))
    return tickstock("backtest", "--symbols", "A,B", "--patterns", "Hammer", *span, *options, servers=servers)


def test_a_hammer_is_bought_at_the_next_open_and_sold_at_its_target(tickstock, market, tmp_path):
    costs = ("--commission-rate", 0, "--slippage-rate", 0, "--max-position-size", 1)
    run = backtest(tickstock, market, *costs, "--json", "--check-lookahead", "--out", tmp_path)
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    (bought,) = [one for one in report["trade_list"] if one["entry_time"].startswith(str(DAYS[61]))]
    # Entered at 100, the open of the day behind the hammer. The target, 110, lies in the fourth day: 109 to 109.6; the
    # fifth opens at 112, beyond it.
    assert (bought["symbol"], bought["pattern"], bought["direction"]) == ("A", "Hammer", "long")
    assert (bought["entry_price"], bought["exit_price"], bought["reason"]) == (100.0, 112.0, "target")
    assert bought["exit_time"].startswith(str(DAYS[65]))
    assert "look-ahead: 0 trades depend on later bars" in run.stderr
    assert (tmp_path / "report.json").stat().st_size > 0
    table = pq.read_table(tmp_path / "trades.parquet").to_pylist()
    assert [one["exit_price"] for one in table] == [one["exit_price"] for one in report["trade_list"]]


def test_the_same_backtest_gives_the_same_bytes(tickstock, market, tmp_path):
    for name in ("first", "second"):
        assert backtest(tickstock, market, "--out", tmp_path / name).returncode == 0
    for file in (tmp_path / "first").iterdir():
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes(), file.name


def test_what_cannot_be_tested_is_named(tickstock, market):
    assert backtest(tickstock, market, "--timeframe", "5min").returncode == 1  # there are no minutes
    span = ("--from", "2025-01-02", "--to", "2025-02-02")
    run = tickstock("backtest", "--symbols", "A", "--patterns", "Humbug", *span, servers=market)
    assert run.returncode == 2
    assert "there is no pattern Humbug" in run.stderr


def test_minutes_are_loaded_in_their_order_whatever_order_they_were_written_in(migrated_servers):
    opens = datetime(2025, 11, 28, 14, 30, tzinfo=UTC)
    insert = (
        "INSERT INTO ohlcv_1min (symbol, timestamp, open, high, low, close, volume) VALUES (%s, %s, %s, 9, 1, 2.5, 7)"
    )
    with connect(migrated_servers.database_url, name="test") as connection:
        connection.execute("INSERT INTO symbols (symbol) VALUES ('A'), ('NONE'), ('Z')")
        for symbol, minute in (("Z", 3), ("A", 2), ("Z", 0), ("A", 60), ("A", 1)):  # the 60th is behind the end
            connection.execute(insert, [symbol, opens + timedelta(minutes=minute), 1.1 + minute])
        span = (opens, opens + timedelta(minutes=60))
        a, z = load_minutes(connection, ["A", "NONE", "Z"], *span)
        assert load_minutes(connection, ["NONE"], *span) == []
    first = int(opens.timestamp()) // 60
    assert (a.number, a.minute.tolist(), a.open.tolist()) == (1, [first + 1, first + 2], [2.1, 3.1])
    assert (z.number, z.minute.tolist(), z.open.tolist()) == (3, [first, first + 3], [1.1, 4.1])
    assert [column.tolist() for column in z[3:]] == [[9, 9], [1, 1], [2.5, 2.5], [7, 7]]


@pytest.mark.parametrize(
    ("timeframe", "to", "last"),
    [
        ("weekly", "2025-04-09", "2025-03-31"),  # Wednesday
        ("weekly", "2025-04-10", "2025-03-31"),
        ("weekly", "2025-04-11", "2025-04-07"),  # Friday: the week has ended
        ("weekly", "2025-04-17", "2025-04-14"),  # the day before Good Friday is that week's last trading day
        ("monthly", "2025-05-29", "2025-04-01"),
        ("monthly", "2025-05-30", "2025-05-01"),  # 2025-05-31 is a Saturday
        ("daily", "2025-04-09", "2025-04-09"),
    ],
)
def test_a_backtest_takes_no_bar_that_ends_after_its_last_day(tickstock, long_bars, timeframe, to, last):
    span = ("--from", "2025-02-05", "--to", to, "--timeframe", timeframe)
    run = tickstock("backtest", "--symbols", "A", "--patterns", "Hammer", *span, "--json", servers=long_bars)
    assert run.returncode == 0, run.stderr
    times = [time for time, *_ in json.loads(run.stdout)["equity"]]
    assert times[-1].startswith(last)
    # The bar that contains the first day began before it, so it is left out.
    assert times[0].startswith({"daily": "2025-02-05", "weekly": "2025-02-10", "monthly": "2025-03-01"}[timeframe])


@pytest.fixture
def long_bars(migrated_servers):
    """Bars of one symbol for each weekday, week and month from January to June 2025."""
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as database:
        database.execute("INSERT INTO symbols (symbol) VALUES ('A')")
        for table, column, step, first in (
            ("ohlcv_daily", "date", "1 day", "2025-01-01"),
            ("ohlcv_weekly", "week_start", "7 days", "2025-01-06"),
            ("ohlcv_monthly", "month_start", "1 month", "2025-01-01"),
        ):
            database.execute(
                f"INSERT INTO {table} (symbol, {column}, open, high, low, close, volume)"
                " SELECT 'A', day, 100, 101, 99, 100, 1e6"
                " FROM generate_series(%s::date, '2025-06-30', %s::interval) AS day"
                " WHERE extract(isodow FROM day) < 6 OR %s",
                [first, step, column != "date"],
            )
    return migrated_servers
