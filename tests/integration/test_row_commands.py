"""Bars of every timeframe, the last of each symbol, and indicators, as commands print them."""

import json

import psycopg
import pytest
from pyarrow import parquet


@pytest.fixture(scope="module")
def filled(module_servers):
    """A database with bars of two symbols in three timeframes, and the values of two indicators."""
    with psycopg.connect(module_servers.database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO symbols (symbol) VALUES ('IBM'), ('AIG')")
        for table, minutes in (("ohlcv_1min", 1), ("ohlcv_5min", 5), ("ohlcv_hourly", 60)):
            connection.execute(
                f"""INSERT INTO {table} (symbol, "timestamp", open, high, low, close, volume)
                    SELECT s, '2026-03-02 15:00+00'::timestamptz + n * make_interval(mins => {minutes}),
                           {minutes}, {minutes} + 0.5, {minutes} - 0.5, {minutes} + 0.25, 100 * n + 0.5
                      FROM unnest(ARRAY['IBM', 'AIG']) AS s, generate_series(0, 3) AS n"""
            )
        connection.execute(
            """INSERT INTO intraday_indicators (symbol, indicator_type, value, value_data, calculation_timestamp,
                                                timeframe)
               SELECT 'IBM', 'SMA_5', 100 + n, jsonb_build_object('sma_5', 100 + n),
                      '2026-03-02 15:05+00'::timestamptz + n * interval '5 min', '5min'
                 FROM generate_series(0, 2) AS n
                UNION ALL SELECT 'IBM', 'MACD', 1.5, '{"macd": 1.5, "signal": 1.25, "hist": 0.25}',
                                 '2026-03-02 15:01+00', '1min'
                UNION ALL SELECT 'IBM', 'THEIRS', 7, NULL, '2026-03-02', 'daily'"""
        )
    return module_servers


@pytest.fixture
def printed(filled, tickstock):
    """Give a function that runs a command; it returns the lines that it printed."""

    def run(*arguments):
        ran = tickstock(*arguments, servers=filled)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.splitlines()

    return run


def test_bars_of_a_timeframe_have_its_own_rows_and_columns(printed):
    lines = printed("bars", "--timeframe", "5min", "--symbol", "IBM", "--format", "csv")
    assert lines == [
        "symbol,timestamp,open,high,low,close,volume",
        "IBM,2026-03-02T15:00:00Z,5,5.5,4.5,5.25,0.5",
        "IBM,2026-03-02T15:05:00Z,5,5.5,4.5,5.25,100.5",
        "IBM,2026-03-02T15:10:00Z,5,5.5,4.5,5.25,200.5",
        "IBM,2026-03-02T15:15:00Z,5,5.5,4.5,5.25,300.5",
    ]


def test_the_last_bars_are_those_of_each_symbol(printed):
    lines = printed("bars", "--timeframe", "hourly", "--last", "1", "--format", "csv")
    assert lines[1:] == [
        "AIG,2026-03-02T18:00:00Z,60,60.5,59.5,60.25,300.5",
        "IBM,2026-03-02T18:00:00Z,60,60.5,59.5,60.25,300.5",
    ]


def test_the_last_bars_before_a_time_are_the_last_of_what_is_chosen(printed):
    lines = printed("bars", "--symbol", "IBM", "--to", "2026-03-02T15:02", "--last", "1", "--format", "csv")
    assert lines[1:] == ["IBM,2026-03-02T15:01:00Z,1,1.5,0.5,1.25,100.5,,,"]


def test_bars_as_json_are_numbers(printed):
    (line,) = printed("bars", "--symbol", "IBM", "--timeframe", "5min", "--last", "1", "--format", "json")
    assert json.loads(line) == {
        "symbol": "IBM", "timestamp": "2026-03-02T15:15:00Z", "open": 5.0, "high": 5.5, "low": 4.5, "close": 5.25,
        "volume": 300.5,
    }  # fmt: skip


def test_bars_of_a_higher_timeframe_as_parquet_have_no_columns_that_they_do_not_know(printed, tmp_path):
    printed("bars", "--timeframe", "5min", "--format", "parquet", "--output", tmp_path / "bars.parquet")
    table = parquet.read_table(tmp_path / "bars.parquet")
    assert table.column_names == ["symbol", "timestamp", "open", "high", "low", "close", "volume"]
    assert table.num_rows == 8


def test_a_timeframe_without_bars_is_exit_1_and_says_which(filled, tickstock):
    ran = tickstock("bars", "--timeframe", "15min", servers=filled)
    assert (ran.returncode, ran.stderr) == (1, "no 15min bars\n")


def test_a_symbol_in_lower_case_is_told_the_upper_one(filled, tickstock):
    ran = tickstock("bars", "--symbol", "ibm", servers=filled)
    assert (ran.returncode, ran.stderr) == (1, "no bars of ibm: symbols are case-sensitive; --symbol IBM?\n")


def test_no_variable_of_another_command_chooses_bars_or_their_format(filled, tickstock):
    ran = tickstock("bars", servers=filled, TICKSTOCK_SYMBOL="XXXX", TICKSTOCK_FORMAT="yaml", TICKSTOCK_TO="2000-01-01")
    assert (ran.returncode, ran.stderr) == (0, "")


def test_indicators_are_printed_with_the_start_of_their_bar(printed):
    assert printed("indicators", "IBM", "--format", "csv") == [
        "symbol,bar,timeframe,indicator,value,values",
        'IBM,2026-03-02T15:00:00Z,1min,MACD,1.5,"{""hist"": 0.25, ""macd"": 1.5, ""signal"": 1.25}"',
        'IBM,2026-03-02T15:00:00Z,5min,SMA_5,100.0,"{""sma_5"": 100}"',
        'IBM,2026-03-02T15:05:00Z,5min,SMA_5,101.0,"{""sma_5"": 101}"',
        'IBM,2026-03-02T15:10:00Z,5min,SMA_5,102.0,"{""sma_5"": 102}"',
    ]


def test_the_last_value_is_that_of_each_indicator(printed):
    lines = printed("indicators", "--symbol", "IBM", "--last", "1", "--format", "json")
    assert [(found["indicator"], found["bar"][11:16], found["value"]) for found in map(json.loads, lines)] == [
        ("MACD", "15:00", 1.5),
        ("SMA_5", "15:10", 102.0),
    ]


def test_a_table_of_indicators_shows_every_output_of_one_that_has_several(printed):
    text = "\n".join(printed("indicators", "IBM", "--last", "1"))
    assert "hist 0.25  macd 1.5  signal 1.25" in text
    assert "sma_5 102" not in text


def test_indicators_of_a_table_without_the_column_value_are_printed_all_the_same(migrated_servers, tickstock):
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE intraday_indicators DROP COLUMN value")
        connection.execute(
            """INSERT INTO intraday_indicators (symbol, indicator_type, value_data, calculation_timestamp, timeframe)
               VALUES ('IBM', 'SMA_5', '{"sma_5": 100.5}', '2026-03-02 15:05+00', '5min'),
                      ('IBM', 'MACD', '{"macd": 1, "signal": 2}', '2026-03-02 15:05+00', '5min')"""
        )
    ran = tickstock("indicators", "IBM", "--format", "json", servers=migrated_servers)
    found = {line["indicator"]: (line["value"], line["values"]) for line in map(json.loads, ran.stdout.splitlines())}
    assert found == {"SMA_5": (100.5, {"sma_5": 100.5}), "MACD": (None, {"macd": 1, "signal": 2})}


def test_an_indicator_that_does_not_exist_is_refused_with_those_that_do(filled, tickstock):
    ran = tickstock("indicators", "IBM", "--indicator", "sma5", servers=filled)
    assert ran.returncode == 2
    assert "there is no indicator 'sma5': did you mean SMA_5 or " in ran.stderr
    assert "There are: ATR, BollingerBands, " in ran.stderr
