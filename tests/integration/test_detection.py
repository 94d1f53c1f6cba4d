"""What is found on closed bars, through the whole way: a flat file of this test, workers, PostgreSQL."""

import json
import math
import os
import random
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import psycopg
import pytest
import redis
import talib
from tickstockpl.contracts.detection import flow_id_of
from tickstockpl.contracts.names import results_key
from tickstockpl.db import postgres
from tickstockpl.db.tables.detections import OUR_LOG_FUNCTION
from tickstockpl.db.tables.own_bars.history_bars import session_sums_before
from tickstockpl.workers.detect.definitions import seed_definitions

from .test_result_commands import running

OPENING_S = 1_381_152_600  # 2013-10-07 13:30 UTC, 09:30 in New York
SYMBOLS = ("AIG", "BAC", "BRK.B")
MINUTES = 300  # more than a window has
MAX_GAP_MINUTES = 10 * 24 * 60
NIGHT_MINUTES = 6 * 60
HEADER = "ticker,price,sip_timestamp,size"

# Of the application, as contracts.md section 5 tells of the older ones.
APPLICATION_TABLES = """
CREATE TABLE symbols (symbol varchar(20) PRIMARY KEY, name text, type text, active boolean DEFAULT true);
CREATE TABLE ohlcv_1min (
    symbol varchar(20) NOT NULL REFERENCES symbols (symbol), "timestamp" timestamptz NOT NULL,
    open numeric(10,4) NOT NULL, high numeric(10,4) NOT NULL, low numeric(10,4) NOT NULL, close numeric(10,4) NOT NULL,
    volume bigint NOT NULL, PRIMARY KEY (symbol, "timestamp"));
"""


def trade(symbol, price, second, size):
    return f"{symbol},{price},{(OPENING_S + second) * 10**9},{size}"


def walk(seed):
    """Make the trades of a random walk in fractions of a cent; some minutes have none. Seeded."""
    numbers = random.Random(seed)
    prices = {symbol: 50.0 + 10 * i for i, symbol in enumerate(SYMBOLS)}
    for minute in range(MINUTES):
        for symbol in SYMBOLS:
            if numbers.random() < 0.05:
                continue
            for second in sorted(numbers.sample(range(60), numbers.randint(1, 5))):
                prices[symbol] = round(prices[symbol] + numbers.gauss(0, 0.04), 6)
                yield trade(symbol, prices[symbol], minute * 60 + second, numbers.choice([1, 100, 2.5, 700]))


def write(file, lines):
    file.write_text("\n".join([HEADER, *lines]) + "\n")
    return file


def replay(tickstock, servers, file, *options):
    ran = tickstock("replay", file, "--workers", "1", "--partitions", "2", *options, servers=servers)
    assert ran.returncode == 0, ran.stderr + ran.stdout


def rows(servers, statement, *values):
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def seeded(migrated_servers):
    """Give servers whose definitions are there, as after `tickstock migrate`."""
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        seed_definitions(connection)
    return migrated_servers


def enable_every_indicator(servers):
    rows(servers, "UPDATE indicator_definitions SET enabled = true")


def minute_bars(servers):
    """Read the 1-minute bars as they were recorded, unrounded."""
    found = rows(
        servers,
        "SELECT symbol::text, minute, open, high, low, close, volume_micro, notional FROM recent_bar ORDER BY 1, 2",
    )
    names = ("symbol", "minute", "open", "high", "low", "close", "volume_micro", "notional")
    return pl.DataFrame(found, schema=names, orient="row")


def grouped(bars, minutes):
    """Group 1-minute bars into higher ones with polars."""
    return (
        bars.with_columns(minute=pl.col("minute") // minutes * minutes)
        .group_by("symbol", "minute", maintain_order=True)
        .agg(
            pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last(),
            pl.col("volume_micro").sum(), pl.col("notional").sum(),
        )
        .sort("symbol", "minute")
    )  # fmt: skip


def bars_of(servers):
    bars = minute_bars(servers)
    return {"1min": bars} | {name: grouped(bars, minutes) for name, minutes in HIGHER.items()}


HIGHER = {"5min": 5, "15min": 15, "30min": 30, "hourly": 60}
SPANS = {"1min": 1} | HIGHER


def all_outputs(bars):
    """Call TA-Lib on up to 250 bars; return the last value of each output by (indicator, key)."""
    opened, high, low, close, volume = (bars[name].to_numpy() for name in ("open", "high", "low", "close", "shares"))
    del opened
    macd, signal, histogram = talib.MACD(close, 12, 26, 9)
    upper, middle, lower = talib.BBANDS(close, 20, 2.0, 2.0)
    usual = volume[-21:-1].mean() if len(volume) > 20 else 0
    outputs = {
        ("RSI", "rsi_14"): [np.nan] if len(close) > 14 and len(set(close[-15:])) == 1 else talib.RSI(close, 14),
        ("SMA_5", "sma_5"): talib.SMA(close, 5),
        ("SMA_20", "sma_20"): talib.SMA(close, 20),
        ("SMA_50", "sma_50"): talib.SMA(close, 50),
        ("SMA_200", "sma_200"): talib.SMA(close, 200),
        ("EMA_12", "ema_12"): talib.EMA(close, 12),
        ("EMA_26", "ema_26"): talib.EMA(close, 26),
        ("MACD", "macd"): macd,
        ("MACD", "macd_signal"): signal,
        ("MACD", "macd_histogram"): histogram,
        ("BollingerBands", "bb_middle"): middle,
        ("BollingerBands", "bb_upper"): upper,
        ("BollingerBands", "bb_lower"): lower,
        ("ATR", "atr_14"): talib.ATR(high, low, close, 14),
        ("RelativeVolume", "relative_volume"): [volume[-1] / usual if usual else np.nan],
    }
    return {key: float(values[-1]) for key, values in outputs.items()}


def expected_indicators(servers):
    """Compute every indicator of every bar offline, over the 1-minute bars that are recorded."""
    found = {}
    gap, ratio = pl.col("minute").diff(), pl.col("open") / pl.col("close").shift()
    is_split = (gap >= NIGHT_MINUTES) & ((ratio < 0.7) | (ratio > 1 / 0.7))
    other = ((gap > MAX_GAP_MINUTES) | is_split).fill_null(value=False)  # what is behind it is another market or unit
    for timeframe, bars in bars_of(servers).items():
        runs = bars.with_columns(
            shares=pl.col("volume_micro") / 1e6, run=other.over("symbol").cast(int).cum_sum().over("symbol")
        )
        for (symbol, _), mine in runs.group_by("symbol", "run"):
            for i, minute in enumerate(mine["minute"]):
                window = mine[max(0, i - 249) : i + 1]
                at = datetime.fromtimestamp((minute + SPANS[timeframe]) * 60, UTC)
                for (indicator, key), value in all_outputs(window).items():
                    if np.isfinite(value):
                        found[symbol, timeframe, at, indicator, key] = value
    return found


def stored_indicators(servers, without=("VWAP",)):
    """Read the rows: {(symbol, timeframe, at, indicator, key): value}; each is there once."""
    statement = (
        "SELECT symbol, timeframe, calculation_timestamp, indicator_type, value_data, value::float8"
        " FROM intraday_indicators"
    )
    found = {}
    for symbol, timeframe, at, indicator, values, first in rows(servers, statement):
        if indicator in without:
            continue
        assert next(iter(values.values())) == first or first in values.values()
        for key, value in values.items():
            place = (symbol, timeframe, at.astimezone(UTC), indicator, key)
            assert place not in found
            found[place] = value
    return found


def assert_indicators_equal_talib(servers):
    expected, found = expected_indicators(servers), stored_indicators(servers)
    assert (sorted(found.keys() - expected.keys())[:5], sorted(expected.keys() - found.keys())[:5]) == ([], [])
    wrong = {
        key: (found[key], value)
        for key, value in expected.items()
        if abs(found[key] - value) > 1e-9 * max(1, abs(value))
    }
    assert dict(list(wrong.items())[:5]) == {}
    assert len(expected) > 100


def everything_found(servers):
    """Return all rows of results without ids and times of the run."""
    indicators = (
        "SELECT symbol, timeframe, calculation_timestamp, indicator_type, value, value_data, expiration_timestamp,"
        " metadata FROM intraday_indicators ORDER BY 1, 2, 3, 4"
    )
    patterns = (
        "SELECT symbol, timeframe, detection_timestamp, pattern_type, confidence, pattern_data, expiration_timestamp,"
        " levels, metadata FROM intraday_patterns ORDER BY 1, 2, 3, 4"
    )
    flows = "SELECT symbol, timeframe, minute, pattern, flow_id, superseded_at FROM detection_flow ORDER BY 1, 2, 3, 4"
    higher = "SELECT * FROM recent_higher_bar ORDER BY symbol, timeframe, minute"
    return [rows(servers, statement) for statement in (indicators, patterns, flows, higher)]


def told(servers, kind):
    """Return every result of a kind in the outbox, by partition and number."""
    bodies = rows(servers, "SELECT body FROM outbox WHERE kind = %s ORDER BY partition, number", kind)
    return [result for (body,) in bodies for result in json.loads(bytes(body))]


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    return write(tmp_path_factory.mktemp("day") / "day.csv", walk(seed=3))


# -- a replayed day ------------------------------------------------------------------------------------------------


def test_every_indicator_of_every_bar_equals_talib_on_the_same_bars(day, *, tickstock, seeded):
    enable_every_indicator(seeded)
    replay(tickstock, seeded, day)
    assert_indicators_equal_talib(seeded)


def test_the_sessions_vwap_is_its_dollars_by_its_shares(day, *, tickstock, seeded):
    enable_every_indicator(seeded)
    replay(tickstock, seeded, day)
    stored = rows(
        seeded,
        "SELECT symbol, calculation_timestamp, value::float8 FROM intraday_indicators"
        " WHERE indicator_type = 'VWAP' AND timeframe = '1min' ORDER BY 1, 2",
    )
    sums = pl.col("notional").cum_sum() / (pl.col("volume_micro").cum_sum() / 1e6)
    expected = minute_bars(seeded).with_columns(vwap=sums.over("symbol"))
    assert len(stored) == len(expected) > MINUTES
    for (symbol, at, value), bar in zip(stored, expected.iter_rows(named=True), strict=True):
        assert (symbol, at.timestamp() // 60 - 1) == (bar["symbol"], bar["minute"])
        assert value == pytest.approx(bar["vwap"], abs=1e-8)


def test_the_vwap_of_a_bar_that_reaches_over_the_opening_holds_the_sessions_part_of_it(tickstock, seeded, tmp_path):
    """Opening at 09:30: 09:10, 09:35 and 10:05 in New York, and a trade behind that closes the bars."""
    rows(seeded, "UPDATE indicator_definitions SET enabled = name = 'VWAP'")
    trades = [(50.0, -20, 500), (100.0, 5, 1000), (110.0, 35, 1000), (120.0, 95, 1000)]
    file = write(tmp_path / "day.csv", [trade("AIG", price, minute * 60, size) for price, minute, size in trades])
    replay(tickstock, seeded, file)
    statement = (
        "SELECT timeframe, to_char(calculation_timestamp AT TIME ZONE 'America/New_York', 'HH24:MI'), value::float8"
        " FROM intraday_indicators WHERE calculation_timestamp <= %s ORDER BY 1, 2"
    )
    ends = {"1min": ("09:36", "10:06"), "5min": ("09:40", "10:10"), "15min": ("09:45", "10:15"),
            "30min": ("10:00", "10:30"), "hourly": ("10:00", "11:00")}  # fmt: skip
    expected = [(name, at, vwap) for name, both in ends.items() for at, vwap in zip(both, (100.0, 105.0), strict=True)]
    assert sorted(rows(seeded, statement, datetime.fromtimestamp(OPENING_S + 5400, UTC))) == sorted(expected)


def test_higher_bars_are_the_minute_bars_grouped(day, *, tickstock, seeded):
    replay(tickstock, seeded, day)
    bars = minute_bars(seeded)
    for timeframe, minutes in HIGHER.items():
        expected = grouped(bars, minutes)
        recorded = rows(
            seeded,
            "SELECT symbol::text, minute, open, high, low, close, volume_micro FROM recent_higher_bar"
            " WHERE timeframe = %s ORDER BY 1, 2",
            minutes,
        )
        assert recorded == expected.drop("notional").rows()
        table = rows(
            seeded,
            'SELECT symbol::text, extract(epoch FROM "timestamp")::int / 60, open::float8, high::float8, low::float8,'
            f" close::float8, (volume * 1000000)::float8 FROM ohlcv_{timeframe} ORDER BY 1, 2",
        )
        assert table == expected.drop("notional").rows()


def test_each_pattern_and_value_is_there_once(day, *, tickstock, seeded):
    replay(tickstock, seeded, day)
    counted = rows(
        seeded,
        "SELECT count(*), count(DISTINCT (symbol, pattern_type, timeframe, detection_timestamp)),"
        " count(DISTINCT metadata ->> 'flow_id') FROM intraday_patterns",
    )
    assert len(set(counted[0])) == 1
    assert counted[0][0] > 0
    assert rows(
        seeded,
        "SELECT 1 FROM intraday_indicators GROUP BY symbol, indicator_type, timeframe, calculation_timestamp"
        " HAVING count(*) > 1",
    ) == []  # fmt: skip


def test_no_mark_is_left_at_the_end(day, *, tickstock, seeded):
    replay(tickstock, seeded, day)
    assert rows(seeded, "SELECT sum(undetected) FROM checkpoint") == [(0,)]


def test_the_same_file_again_changes_nothing(day, *, tickstock, seeded):
    replay(tickstock, seeded, day, "--publish")
    before, outbox = everything_found(seeded), rows(seeded, "SELECT count(*) FROM outbox")
    replay(tickstock, seeded, day, "--publish", "--again")
    assert everything_found(seeded) == before
    assert rows(seeded, "SELECT count(*) FROM outbox") == outbox


def test_every_average_that_hangs_on_a_replaced_bar_is_computed_again(tickstock, seeded, tmp_path):
    """A load brings 250 bars behind the first replaced one; behind the last one 199 averages hang on it."""
    rows(seeded, "INSERT INTO always_open VALUES ('*')")
    rows(seeded, "UPDATE pattern_definitions SET enabled = false")
    rows(seeded, "UPDATE indicator_definitions SET enabled = (name = 'SMA_200')")
    for name, price, count in (("first.csv", 10, 420), ("second.csv", 20, 150)):  # one trade in five minutes
        replay(tickstock, seeded, write(tmp_path / name, (trade("BAC", price, 300 * i, 100) for i in range(count))))

    expected = [10 + 10 * max(0, 150 - first) / 200 for first in range(420 - 199)]
    averages = (
        "SELECT (value_data ->> 'sma_200')::float8 FROM intraday_indicators WHERE timeframe = %s"
        " ORDER BY calculation_timestamp"
    )
    for timeframe in ("1min", "5min"):
        assert [value for (value,) in rows(seeded, averages, timeframe)] == pytest.approx(expected)


def test_a_bar_that_is_computed_again_keeps_no_value_that_it_would_not_get_now(tickstock, seeded, tmp_path):
    """A minute is gone, a split came late, a market closes at night now, an indicator is off."""
    rows(seeded, "UPDATE pattern_definitions SET enabled = false")
    switch = "UPDATE indicator_definitions SET applicable_timeframes = '{1min}', enabled = (name = ANY (%s))"
    rows(seeded, switch, ["SMA_5", "VWAP"])
    rows(seeded, "INSERT INTO always_open VALUES ('C')")
    seconds = {"AIG": range(0, 360, 60), "BAC": [0, 60, 120, 86_400, 86_460], "C": range(-7200, -6900, 60)}
    trades = [trade(symbol, 10, second, 100) for symbol, times in seconds.items() for second in times]
    replay(tickstock, seeded, write(tmp_path / "first.csv", trades))
    averages = (
        "SELECT symbol, (extract(epoch FROM calculation_timestamp) - %s)::int FROM intraday_indicators"
        " WHERE indicator_type = 'SMA_5' ORDER BY 1, 2"
    )
    assert rows(seeded, averages, OPENING_S) == [("AIG", 300), ("AIG", 360), ("BAC", 86_520), ("C", -6900)]

    rows(seeded, switch, ["SMA_5"])
    rows(seeded, "DELETE FROM always_open")
    rows(seeded, "INSERT INTO corporate_action (symbol, ex_date, ratio) VALUES ('BAC', '2013-10-08', 1.25)")
    trades.remove(trade("AIG", 10, 120, 100))
    replay(tickstock, seeded, write(tmp_path / "second.csv", trades))

    assert rows(seeded, averages, OPENING_S) == [("AIG", 360)]
    assert rows(seeded, "SELECT DISTINCT indicator_type FROM intraday_indicators") == [("SMA_5",)]


def test_the_same_file_again_computes_what_was_switched_on_since(day, *, tickstock, seeded):
    replay(tickstock, seeded, day)
    enable_every_indicator(seeded)
    rows(seeded, "UPDATE pattern_definitions SET enabled = true WHERE name = 'SpinningTop'")
    bars = rows(seeded, "SELECT xmin::text, * FROM ohlcv_1min ORDER BY symbol, timestamp")
    replay(tickstock, seeded, day, "--again")
    assert_indicators_equal_talib(seeded)
    tops = "SELECT DISTINCT timeframe FROM intraday_patterns WHERE pattern_type = 'SpinningTop' ORDER BY 1"
    assert ("5min",) in rows(seeded, tops)
    assert rows(seeded, "SELECT xmin::text, * FROM ohlcv_1min ORDER BY symbol, timestamp") == bars
    assert rows(seeded, "SELECT sum(undetected) FROM checkpoint") == [(0,)]


def test_half_a_day_and_then_the_other_gives_what_the_whole_day_gives(day, *, tickstock, seeded, tmp_path):
    """The second worker knows nothing of the first one's histories."""
    enable_every_indicator(seeded)
    lines = day.read_text().splitlines()[1:]
    middle_ns = (OPENING_S + 147 * 60) * 10**9
    early = [line for line in lines if int(line.split(",")[2]) < middle_ns]
    replay(tickstock, seeded, write(tmp_path / "early.csv", early))
    replay(tickstock, seeded, write(tmp_path / "late.csv", lines[len(early) :]))
    assert_indicators_equal_talib(seeded)


@pytest.mark.parametrize(
    "files", [[(0, 11)], [(11,), (0,)], [(0,), (22,), (11,)]], ids=["in one file", "the older one last", "in between"]
)
def test_days_far_apart_are_detected_to_the_end(files, *, tickstock, seeded, tmp_path):
    """Each day ends within an hour, whose bar no later minute closes."""
    enable_every_indicator(seeded)
    for number, days in enumerate(files):
        lines = [
            trade(symbol, round(50 + math.sin(minute * len(symbol)), 4), day * 86_400 + minute * 60, 100)
            for day in days
            for minute in range(23)
            for symbol in SYMBOLS
        ]
        replay(tickstock, seeded, write(tmp_path / f"{number}.csv", lines))
    assert rows(seeded, "SELECT sum(undetected) FROM checkpoint") == [(0,)]
    assert_indicators_equal_talib(seeded)


def calm(symbol, day, price, size, *, minutes=70):
    """Make a trade every 20 s around a price: nothing that a trader would call a breakout."""
    numbers = random.Random(f"{symbol} {day}")
    return [
        trade(
            symbol, round(price * (1 + numbers.gauss(0, 1e-4)), 4), day * 86_400 + second, size + numbers.randrange(50)
        )
        for second in range(0, minutes * 60, 20)
    ]


@pytest.mark.parametrize(("price", "size"), [(120.0, 10_000), (800.0, 1500), (9600.0, 125)], ids=["10:1", "3:2", "1:8"])
def test_nothing_is_found_over_a_split(price, size, *, tickstock, seeded, tmp_path):
    enable_every_indicator(seeded)
    file = write(tmp_path / "split.csv", [*calm("AIG", 0, 1200.0, 1000), *calm("AIG", 1, price, size)])
    replay(tickstock, seeded, file)
    assert_indicators_equal_talib(seeded)
    alerts = "SELECT pattern_type FROM intraday_patterns WHERE pattern_type IN ('Price_Breakout', 'Volume_Spike')"
    assert rows(seeded, alerts + " AND detection_timestamp > to_timestamp(%s)", OPENING_S + 86_400) == []


@pytest.mark.parametrize(
    ("kept", "again"),
    [(slice(0, -9), slice(-9, None)), (slice(9, None), slice(9))],
    ids=["the last minutes of the first day come late", "the first ones"],
)
def test_bars_that_come_after_a_split_for_the_day_before_it_stay_on_their_side(
    kept, again, *, tickstock, seeded, tmp_path
):
    enable_every_indicator(seeded)
    first, second = calm("AIG", 0, 90.0, 100), calm("AIG", 1, 30.0, 300)
    replay(tickstock, seeded, write(tmp_path / "1.csv", first[kept]))
    replay(tickstock, seeded, write(tmp_path / "2.csv", second))
    replay(tickstock, seeded, write(tmp_path / "3.csv", first[again]))
    assert_indicators_equal_talib(seeded)
    assert rows(seeded, "SELECT sum(undetected) FROM checkpoint") == [(0,)]


def test_a_corrected_price_that_makes_a_split_or_unmakes_it_changes_what_lies_behind(tickstock, seeded, tmp_path):
    """The first minute after the night opens at half the price, which a corrected file puts right, and back."""
    rows(seeded, "UPDATE indicator_definitions SET enabled = true, applicable_timeframes = '{1min}'")
    first, second = calm("AIG", 0, 90.0, 100), calm("AIG", 1, 91.0, 100)
    ticker, _, at, size = second[0].split(",")
    for number, opened in enumerate((45.0, 91.0, 45.0)):
        file = write(tmp_path / f"{number}.csv", [*first, f"{ticker},{opened},{at},{size}", *second[1:]])
        replay(tickstock, seeded, file)
        found, expected = stored_indicators(seeded), expected_indicators(seeded)
        assert {k: v for k, v in expected.items() if k[1] == "1min"} == pytest.approx(found, rel=1e-9, abs=1e-9)


def test_a_replay_that_is_stopped_while_it_detects_goes_on_with_it(day, *, tickstock, seeded, wait_for):
    enable_every_indicator(seeded)
    with psycopg.connect(seeded.database_url) as connection:
        connection.execute("LOCK TABLE intraday_indicators IN ACCESS EXCLUSIVE MODE")
        command = ("replay", day, "--workers", "1", "--partitions", "2")
        with running(seeded, *command) as process:
            wait_for(lambda: rows(seeded, "SELECT sum(undetected) > 0 FROM checkpoint") == [(True,)])
            wait_for(lambda: rows(seeded, "SELECT bool_and(ended), count(*) FROM ledger") == [(True, 2)])
            process.terminate()
            waits = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'tickstock-producer'"
            wait_for(lambda: rows(seeded, waits) == [])
            connection.rollback()
            assert process.wait(60) == 1
    assert process.notes[-1] == "Error: stopped before the end: the same command continues from here\n"
    replay(tickstock, seeded, day)
    assert rows(seeded, "SELECT sum(undetected) FROM checkpoint") == [(0,)]
    assert_indicators_equal_talib(seeded)


def test_a_corrected_day_leaves_what_its_own_bars_give(day, *, tickstock, seeded, tmp_path):
    enable_every_indicator(seeded)
    replay(tickstock, seeded, day)
    lines = day.read_text().splitlines()[1:]
    changed = [line for line in lines if line.startswith("BAC")][-700]
    ticker, price, at, size = changed.split(",")
    corrected = f"{ticker},{float(price) * 1.02},{at},{size}"
    file = write(tmp_path / "corrected.csv", [corrected if line == changed else line for line in lines])
    replay(tickstock, seeded, file)
    assert rows(seeded, "SELECT count(*) FROM recent_bar WHERE revision > 0")[0][0] > 0
    assert_indicators_equal_talib(seeded)


def test_a_table_of_the_applications_own_gives_the_same_values(day, *, tickstock, seeded, empty_database):
    enable_every_indicator(seeded)
    replay(tickstock, seeded, day)
    ours = [sorted(map(str, found)) for found in everything_found(seeded)]
    with psycopg.connect(empty_database.database_url) as connection:
        connection.execute(APPLICATION_TABLES)
    with redis.Redis.from_url(empty_database.redis_url) as client:
        client.flushall()
    assert tickstock("migrate", "--partitions", "2", servers=empty_database).returncode == 0
    enable_every_indicator(empty_database)
    replay(tickstock, empty_database, day)
    theirs = [sorted(map(str, found)) for found in everything_found(empty_database)]
    assert len(theirs[0]) > 1000
    assert theirs[0] == ours[0]
    assert theirs[3] == ours[3]
    assert theirs[2] == ours[2]


@pytest.fixture
def empty_database(servers, migrated_servers):
    """Give a second database, without a table."""
    name = f"application_{os.getpid()}_{random.getrandbits(32)}"
    with psycopg.connect(servers.database_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield type(servers)(migrated_servers.redis_url, migrated_servers.database_url.rpartition("/")[0] + f"/{name}")
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


# -- telling -------------------------------------------------------------------------------------------------------


def test_without_publish_nothing_is_told(day, *, tickstock, seeded):
    replay(tickstock, seeded, day)
    assert rows(seeded, "SELECT count(*) > 0 FROM intraday_patterns") == [(True,)]
    assert rows(seeded, "SELECT count(*) FROM integration_events") == [(0,)]
    assert rows(seeded, "SELECT DISTINCT kind FROM outbox WHERE kind <> 'void'") == []


def test_an_application_s_own_log_function_is_called_for_each_published_pattern(day, *, tickstock, seeded):
    known = rows(seeded, "SELECT md5(prosrc) FROM pg_proc WHERE proname = 'log_integration_event'")
    assert known == [(OUR_LOG_FUNCTION,)]  # a database without an application: then one INSERT does the same
    rows(
        seeded,
        """
CREATE OR REPLACE FUNCTION log_integration_event(
    p_flow_id uuid, p_event_type varchar, p_source varchar, p_checkpoint varchar, p_channel varchar DEFAULT NULL,
    p_symbol varchar DEFAULT NULL, p_pattern varchar DEFAULT NULL, p_confidence numeric DEFAULT NULL,
    p_user_count integer DEFAULT NULL, p_details jsonb DEFAULT NULL) RETURNS void LANGUAGE sql AS $f$
    INSERT INTO integration_events (flow_id, checkpoint, source_system) VALUES (p_flow_id, p_checkpoint, 'theirs') $f$
""",
    )
    replay(tickstock, seeded, day, "--publish")
    first = rows(seeded, "SELECT count(*) FROM intraday_patterns WHERE pattern_data ->> 'event' = 'first'")
    logged = "SELECT source_system, count(*) FROM integration_events WHERE checkpoint = 'PATTERN_PUBLISHED' GROUP BY 1"
    assert rows(seeded, logged) == [("theirs", *first[0])]


def test_every_pattern_has_its_event_and_its_message_under_one_flow_id(day, *, tickstock, seeded):
    anywhere = '{"min_move": 0, "min_atr": 0}'
    rows(seeded, "UPDATE pattern_definitions SET parameters = %s WHERE name = 'Doji'", anywhere)
    replay(tickstock, seeded, day, "--publish")
    stored = rows(
        seeded,
        "SELECT metadata ->> 'flow_id', symbol, pattern_type, confidence::float8, timeframe FROM intraday_patterns"
        " WHERE pattern_data ->> 'event' = 'first' ORDER BY 1",
    )
    events = rows(
        seeded,
        "SELECT flow_id::text, symbol, pattern_name, confidence::float8 FROM integration_events"
        " WHERE checkpoint = 'PATTERN_PUBLISHED' AND event_type = 'pattern_detected' ORDER BY 1",
    )
    kept = "SELECT metadata ->> 'flow_id', symbol, pattern_type FROM intraday_patterns ORDER BY 1"
    flows = rows(seeded, "SELECT flow_id::text, symbol, pattern FROM detection_flow ORDER BY 1")
    messages = told(seeded, "patterns")
    assert len(stored) > 20
    assert [row[:3] for row in events] == [row[:3] for row in stored]
    assert flows == rows(seeded, kept)
    assert len(flows) > len(stored)  # a repeat is written, and is no news
    assert all(abs(event[3] - row[3]) <= 0.005 for event, row in zip(events, stored, strict=True))
    names = ("symbol", "pattern", "confidence", "timeframe")
    assert sorted(tuple(m[n] for n in names) for m in messages) == sorted(row[1:] for row in stored)
    with redis.Redis.from_url(seeded.redis_url) as client:
        in_redis = [entry[b"body"] for p in (0, 1) for _, entry in client.xrange(results_key(p))]
    bodies = rows(seeded, "SELECT body FROM outbox")
    assert sorted(in_redis) == sorted(bytes(body) for (body,) in bodies)


EVENTS = (
    "SELECT extract(epoch FROM detection_timestamp)::int / 60 - 1 - %s, pattern_type, pattern_data ->> 'event',"
    " pattern_data -> 'repeat_after', pattern_data ->> 'part_of', pattern_data -> 'parts' FROM intraday_patterns"
    " WHERE timeframe = '1min' ORDER BY 1, 2"
)


def quiet_minutes(numbers, *, price=50.0):
    """Make four trades in each of some minutes: a range of 10 cents, and 400 shares."""
    for minute in numbers:
        for second, change in enumerate((0.0, 0.05, -0.05, 0.02)):
            yield trade("AIG", round(price + change, 2), minute * 60 + 10 * second, 100)


def risen_minute(minute, *, to, size):
    """Make a minute that rises by 50 cents to a price, in two trades of a size."""
    return [trade("AIG", round(to - 0.5, 2), minute * 60, size), trade("AIG", to, minute * 60 + 30, size)]


def test_a_breakout_with_its_volume_is_one_message_with_both_named(tickstock, seeded, tmp_path):
    lines = [*quiet_minutes(range(25)), *risen_minute(25, to=50.5, size=5000), *quiet_minutes([26])]
    replay(tickstock, seeded, write(tmp_path / "day.csv", lines), "--publish")
    first = OPENING_S // 60
    assert rows(seeded, EVENTS, first) == [
        (25, "Price_Breakout", "first", None, None, ["Volume_Spike"]),
        (25, "Volume_Spike", "part", None, "Price_Breakout", []),
    ]
    (message,) = [m for m in told(seeded, "patterns") if m["timeframe"] == "1min"]
    assert (message["pattern"], message["levels"]) == ("Price_Breakout", [50.05])
    # 10,000 shares after 400 a minute: a deviation of at least 100, so 96 of them; 1 - 0.4 x 8 / 96.
    (part,) = message["parts"]
    assert part == {"pattern": "Volume_Spike", "confidence": pytest.approx(1 - 0.4 / 12), "direction": 1, "levels": []}
    logged = (
        "SELECT flow_id::text, pattern_name, details -> 'parts' FROM integration_events"
        " WHERE details ->> 'timeframe' = '1min'"
    )
    ((flow_id, name, parts),) = rows(seeded, logged)
    assert (name, parts) == ("Price_Breakout", ["Volume_Spike"])
    spike = str(flow_id_of("AIG", "Volume_Spike", "1min", first + 25))
    assert flow_id != spike
    said = tickstock("flow", spike, servers=seeded).stdout
    assert "not published by itself: it is a part of the Price_Breakout on its bar, which names it" in said


@pytest.mark.parametrize("cut", [None, 26, 28], ids=["one file", "two, behind the first", "two, before the second"])
def test_an_event_is_the_same_over_commits_and_workers(cut, *, tickstock, seeded, tmp_path):
    """The second file's worker knows nothing of what the first one told; the third breakout is 13 bars behind."""
    breaks, lines, price = {25: 50.5, 28: 51.5, 41: 53.0}, [], 50.0
    for minute in range(43):
        if to := breaks.get(minute):
            price = to
            lines.append((minute, list(risen_minute(minute, to=to, size=5000))))
        else:
            lines.append((minute, list(quiet_minutes([minute], price=price))))
    for number, within in enumerate([range(43)] if cut is None else [range(cut), range(cut, 43)]):
        part = [line for minute, of in lines if minute in within for line in of]
        replay(tickstock, seeded, write(tmp_path / f"{number}.csv", part), "--publish")
    first = OPENING_S // 60
    assert rows(seeded, EVENTS, first) == [
        (25, "Price_Breakout", "first", None, None, ["Volume_Spike"]),
        (25, "Volume_Spike", "part", None, "Price_Breakout", []),
        (28, "Price_Breakout", "repeat", 3, None, []),
        (41, "Price_Breakout", "first", None, None, []),
    ]
    messages = [(m["minute"] - first, m["pattern"]) for m in told(seeded, "patterns") if m["timeframe"] == "1min"]
    assert messages == [(25, "Price_Breakout"), (41, "Price_Breakout")]
    second = str(flow_id_of("AIG", "Price_Breakout", "1min", first + 28))
    said = tickstock("flow", second, servers=seeded).stdout
    assert "not published: the same as 3 bars before" in said


def test_every_indicator_value_is_told_once(day, *, tickstock, seeded):
    replay(tickstock, seeded, day, "--publish")
    messages = sorted((m["symbol"], m["timeframe"], m["indicator"], m["minute"]) for m in told(seeded, "indicators"))
    stored = rows(
        seeded,
        "SELECT symbol, timeframe, indicator_type, extract(epoch FROM calculation_timestamp)::int / 60"
        " FROM intraday_indicators",
    )
    assert messages == sorted((symbol, frame, name, at - SPANS[frame]) for symbol, frame, name, at in stored)


# -- real bars -----------------------------------------------------------------------------------------------------


def test_half_an_hour_of_real_trades_equals_talib(tickstock, seeded):
    folder = os.environ.get("TICKSTOCK_TEST_DATA")
    if not folder:
        pytest.skip("TICKSTOCK_TEST_DATA does not name a folder with flat files")
    enable_every_indicator(seeded)
    replay(tickstock, seeded, Path(folder) / "tiny_IBM_2013-10-07.csv", "--trade-rules", "all")
    assert_indicators_equal_talib(seeded)


# -- sums that are very large --------------------------------------------------------------------------------------


@pytest.fixture
def traded(migrated_servers):
    """Give a connection to a database with one symbol."""
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        connection.execute("INSERT INTO symbols (symbol) VALUES ('A')")
        yield connection


def insert_bars(connection, minutes, *, volume_micro, notional):
    connection.execute(
        "INSERT INTO recent_bar SELECT 'A', minute, 'live', false, false, 0, 1, 1, 1, 1, %s, %s, 1, 0, 0"
        " FROM unnest(%s::int[]) AS minute",
        (volume_micro, notional, minutes),
    )


def test_session_sums_of_the_database_are_exact_above_what_a_double_holds(traded):
    insert_bars(traded, [10], volume_micro=2.0**53, notional=2.0**53 / 1e6)
    insert_bars(traded, list(range(11, 111)), volume_micro=1.0, notional=1e-6)
    assert session_sums_before(traded, [("A", 10, 111)]) == {0: (2**53 + 100, 2**53 + 100)}


@pytest.mark.parametrize("large", [1e13, 1e26, 1e32])
def test_session_sums_that_no_bigint_holds_are_as_large_as_a_sum_may_be(traded, large):
    insert_bars(traded, [10, 11], volume_micro=large * 1e6, notional=large)
    assert session_sums_before(traded, [("A", 10, 11), ("A", 10, 12)]) == {0: (2**61, 2**61), 1: (2**61, 2**61)}


# -- definitions ---------------------------------------------------------------------------------------------------


def test_a_wrong_definition_row_stops_nothing(day, *, tickstock, seeded):
    rows(seeded, "UPDATE pattern_definitions SET confidence_threshold = 7 WHERE name = 'Hammer'")
    rows(seeded, "UPDATE indicator_definitions SET period = 9999 WHERE name = 'RSI'")
    replay(tickstock, seeded, day)
    found = {name for (name,) in rows(seeded, "SELECT DISTINCT pattern_type FROM intraday_patterns")}
    assert "Doji" in found
    assert "Hammer" not in found
    values = rows(seeded, "SELECT DISTINCT indicator_type FROM intraday_indicators ORDER BY 1")
    assert values == [("SMA_20",), ("SMA_5",)]


def test_what_is_switched_off_is_not_found(day, *, tickstock, seeded):
    rows(seeded, "UPDATE pattern_definitions SET enabled = false")
    rows(seeded, "UPDATE indicator_definitions SET enabled = false WHERE name <> 'SMA_5'")
    rows(seeded, "UPDATE indicator_definitions SET applicable_timeframes = '{5min}'")
    replay(tickstock, seeded, day)
    assert rows(seeded, "SELECT count(*) FROM intraday_patterns") == [(0,)]
    found = rows(seeded, "SELECT DISTINCT indicator_type, timeframe FROM intraday_indicators")
    assert found == [("SMA_5", "5min")]
