"""Sessions through the whole way: what SQL calls a regular bar, what is loaded again, and markets that never close."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import psycopg
import pytest
import talib
from tickstockpl.contracts.market_hours import NEW_YORK, half_days
from tickstockpl.db import postgres
from tickstockpl.db.sessions import always_open_symbols, set_always_open
from tickstockpl.db.tables.own_bars.history_bars import volumes_of
from tickstockpl.workers.sessions import in_regular_hours

from .test_detection import replay, rows, seeded, write
from .test_result_commands import running

__all__ = ["seeded"]  # a fixture

NIGHT_S = int(datetime(2013, 10, 7, 2, 0, tzinfo=NEW_YORK).timestamp())


def second(day, clock):
    return int(datetime.fromisoformat(f"2013-10-{day:02} {clock}").replace(tzinfo=NEW_YORK).timestamp())


def trades(symbol, at_s, prices, size=100):
    """One trade a minute."""
    return [f"{symbol},{price},{(at_s + 60 * n) * 10**9},{size}" for n, price in enumerate(prices)]


def some_days():
    """Monday to Friday around a change of the clocks in spring and autumn, and the weeks of some half days."""
    for first in (date(2024, 3, 8), date(2025, 10, 31), date(2025, 11, 26), date(2025, 12, 24), date(1997, 12, 24)):
        yield from (first + timedelta(days=days) for days in range(4))


@pytest.mark.parametrize("timeframe", [1, 5, 15, 30, 60])
def test_the_database_calls_the_same_bars_regular(migrated_servers, timeframe):
    starts = [int(datetime(d.year, d.month, d.day, tzinfo=UTC).timestamp()) // 60 for d in some_days()]
    minutes = np.concatenate([np.arange(start, start + 1440, timeframe) for start in starts])
    with psycopg.connect(migrated_servers.database_url) as connection:
        found = connection.execute(
            "SELECT is_regular_bar(m, %s::int, %s::date[]) FROM unnest(%s::int[]) WITH ORDINALITY AS u (m, n)"
            " ORDER BY n",
            (timeframe, list(half_days()), minutes.tolist()),
        ).fetchall()
    assert [is_regular for (is_regular,) in found] == in_regular_hours(minutes, timeframe).tolist()


def test_rsi_after_the_opening_is_over_regular_bars_in_one_replay_and_in_two(tickstock, seeded, tmp_path):
    """The worker of the second file loads the histories that the first one's had."""
    rng = np.random.default_rng(3)
    monday = np.round(100 + rng.normal(0, 0.05, 390).cumsum(), 4)
    night = np.round(monday[-1] + rng.normal(0, 0.5, 90).cumsum(), 4)
    tuesday = np.round(night[-1] + rng.normal(0, 0.05, 6).cumsum(), 4)
    first = [*trades("AIG", second(7, "09:30"), monday), *trades("AIG", second(7, "16:00"), night[:30])]
    then = [*trades("AIG", second(8, "08:00"), night[30:]), *trades("AIG", second(8, "09:30"), tuesday)]
    expected = talib.RSI(np.concatenate([monday, tuesday])[-250:], timeperiod=14)[-1]
    replay(tickstock, seeded, write(tmp_path / "first.csv", first))
    replay(tickstock, seeded, write(tmp_path / "then.csv", then))
    assert rsi_at(seeded, "AIG", second(8, "09:36")) == [pytest.approx(expected, abs=1e-9)]
    assert rsi_at(seeded, "AIG", second(8, "08:30")) == []  # nothing of a regular session there

    whole = [line.replace("AIG", "BAC") for line in (*first, *then)]
    replay(tickstock, seeded, write(tmp_path / "whole.csv", whole))
    values = (
        "SELECT indicator_type, timeframe, calculation_timestamp, value FROM intraday_indicators WHERE symbol = %s"
        " ORDER BY 1, 2, 3"
    )
    assert rows(seeded, values, "AIG") == rows(seeded, values, "BAC")
    found = (
        "SELECT pattern_type, timeframe, detection_timestamp, confidence FROM intraday_patterns WHERE symbol = %s"
        " ORDER BY 1, 2, 3"
    )
    assert rows(seeded, found, "AIG") == rows(seeded, found, "BAC")


def rsi_at(servers, symbol, ended_s):
    statement = (
        "SELECT value::float8 FROM intraday_indicators WHERE symbol = %s AND indicator_type = 'RSI'"
        " AND timeframe = '1min' AND calculation_timestamp = to_timestamp(%s)"
    )
    return [value for (value,) in rows(servers, statement, symbol, ended_s)]


def test_a_late_trade_before_the_opening_changes_no_regular_result(tickstock, seeded, tmp_path):
    """It comes with a replay of that minute alone, which replaces what stood there."""
    prices = np.round(100 + np.random.default_rng(4).normal(0, 0.05, 60).cumsum(), 4)
    early = trades("AIG", second(7, "09:00"), prices[:30])
    replay(tickstock, seeded, write(tmp_path / "day.csv", [*early, *trades("AIG", second(7, "09:30"), prices[30:])]))
    statement = "SELECT indicator_type, calculation_timestamp, value FROM intraday_indicators WHERE timeframe = '1min'"
    before = sorted(rows(seeded, statement))
    replay(tickstock, seeded, write(tmp_path / "late.csv", trades("AIG", second(7, "09:10"), [180.0])))
    assert rows(seeded, "SELECT max(high)::float8 FROM ohlcv_1min") == [(180.0,)]
    assert sorted(rows(seeded, statement)) == before


def test_an_opening_is_held_against_the_openings_before(tickstock, seeded, tmp_path):
    """Three ordinary days, and a fourth whose opening trades four times as much, of one of two symbols."""
    lines = []
    for day in (7, 8, 9, 10):
        for symbol, opening in (("AIG", 2000), ("BAC", 8000 if day == 10 else 2000)):
            lines += trades(symbol, second(day, "09:30"), [50.0], size=opening)
            lines += trades(symbol, second(day, "09:31"), [50 + 0.01 * (n % 2) for n in range(59)])
    replay(tickstock, seeded, write(tmp_path / "days.csv", sorted(lines, key=lambda line: line.split(",")[2])))
    spikes = (
        "SELECT symbol, extract(epoch FROM detection_timestamp)::int FROM intraday_patterns"
        " WHERE pattern_type = 'Volume_Spike' AND timeframe = '1min' ORDER BY 1, 2"
    )
    assert rows(seeded, spikes) == [("BAC", second(10, "09:31"))]


@pytest.mark.parametrize(
    ("timeframe", "table"), [(1, "1min"), (5, "5min"), (15, "15min"), (30, "30min"), (60, "hourly")]
)
def test_volumes_are_read_of_each_timeframe(migrated_servers, timeframe, table):
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        connection.execute("INSERT INTO symbols (symbol, name) VALUES ('A', 'A') ON CONFLICT DO NOTHING")
        connection.execute(
            f'INSERT INTO ohlcv_{table} (symbol, "timestamp", open, high, low, close, volume)'
            " VALUES ('A', to_timestamp(6000), 1, 1, 1, 1, 123.5)"
        )
        found = volumes_of(connection, timeframe, ["B", "A"], np.array([[100, -1], [40, 100]]))
    np.testing.assert_array_equal(found, [[np.nan, np.nan], [np.nan, 123.5]])


# -- markets that never close --------------------------------------------------------------------------------------


def test_of_a_symbol_that_is_always_open_the_night_has_results(tickstock, seeded, tmp_path):
    with postgres.connect(seeded.database_url, name="test") as connection:
        set_always_open(connection, ["X:BTCUSD"], is_open=True)
    closes = [100 + 0.01 * (n % 3) for n in range(20)]
    lines = [line for symbol in ("AIG", "X:BTCUSD") for line in trades(symbol, NIGHT_S, closes)]
    replay(tickstock, seeded, write(tmp_path / "night.csv", lines))
    assert rows(seeded, "SELECT DISTINCT symbol FROM intraday_indicators") == [("X:BTCUSD",)]


def always_open(servers):
    with postgres.connect(servers.database_url, name="test") as connection:
        return always_open_symbols(connection)


def test_a_synthetic_market_is_always_open_unless_it_is_told_otherwise(migrated_servers, wait_for):
    market = ("--source", "synthetic", "--symbols", "2", "--partitions", "1")
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        set_always_open(connection, ["X:BTCUSD"], is_open=True)
    with running(migrated_servers, "producer", *market) as process:
        wait_for(lambda: len(always_open(migrated_servers)) == 3 or process.poll() is not None)
        assert always_open(migrated_servers) > {"X:BTCUSD"}, process.notes
    with running(migrated_servers, "producer", *market, "--no-always-open", "--feed", "other") as process:
        wait_for(lambda: len(always_open(migrated_servers)) == 1 or process.poll() is not None)
        assert always_open(migrated_servers) == {"X:BTCUSD"}, process.notes


def test_a_feed_of_every_symbol_takes_all_of_them_away(migrated_servers):
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        set_always_open(connection, ["*", "AAPL"], is_open=True)
        assert always_open_symbols(connection) == {"*", "AAPL"}
        set_always_open(connection, ["*"], is_open=False)
        assert always_open_symbols(connection) == frozenset()


def test_a_replay_cannot_say_that_its_symbols_are_always_open(tickstock, migrated_servers, tmp_path):
    file = write(tmp_path / "day.csv", trades("AIG", NIGHT_S, [100.0]))
    ran = tickstock("producer", "--source", "replay", "--always-open", file, servers=migrated_servers)
    assert ran.returncode == 2
    assert "a replay keeps what is set for its symbols" in ran.stderr
