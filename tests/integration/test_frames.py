"""Bars, patterns and indicators as frames, and as a picture."""

from datetime import UTC, datetime

import polars as pl
import psycopg
import pytest
from tickstockpl import frames
from tickstockpl.contracts.errors import UsageError

FLOW = "6f1f7a3e-1d2c-5b4a-9e8f-0a1b2c3d4e5f"
AT = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def filled(module_servers):
    """Servers with three bars of two symbols, a pattern and two indicators."""
    with psycopg.connect(module_servers.database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO symbols (symbol) VALUES ('IBM'), ('AIG')")
        for table, minutes in (("ohlcv_1min", 1), ("ohlcv_5min", 5)):
            connection.execute(
                f"""INSERT INTO {table} (symbol, "timestamp", open, high, low, close, volume)
                    SELECT s, '2026-03-02 15:00+00'::timestamptz + n * make_interval(mins => {minutes}),
                           10, 12, 9, 11.5, 7
                      FROM unnest(ARRAY['IBM', 'AIG']) AS s, generate_series(0, 2) AS n"""
            )
        ((pattern_id,),) = connection.execute(
            """INSERT INTO intraday_patterns (symbol, pattern_type, confidence, pattern_data, detection_timestamp,
                                              expiration_timestamp, levels, metadata, timeframe)
               VALUES ('IBM', 'Hammer', 0.75, '{"direction": 1, "bar": {"close": 11.5, "volume": 7}}',
                       '2026-03-02 15:02+00', '2026-03-02 16:02+00', '{10.5}', jsonb_build_object('flow_id', %s::text),
                       '1min') RETURNING id""",
            [FLOW],
        ).fetchall()
        connection.execute(
            "INSERT INTO detection_flow (flow_id, symbol, timeframe, minute, pattern, pattern_id) "
            "VALUES (%s, 'IBM', 1, extract(epoch FROM '2026-03-02 15:01+00'::timestamptz) / 60, 'Hammer', %s)",
            [FLOW, pattern_id],
        )
        connection.execute(
            """INSERT INTO intraday_indicators (symbol, indicator_type, value, value_data, calculation_timestamp,
                                                timeframe)
               VALUES ('IBM', 'SMA_5', 10.5, '{"sma_5": 10.5}', '2026-03-02 15:05+00', '5min'),
                      ('IBM', 'MACD', 1, '{"macd": 1, "hist": 0.5}', '2026-03-02 15:01+00', '1min')"""
        )
    return module_servers


def test_bars_are_a_frame_of_numbers_and_times(filled):
    frame = frames.bars(filled.database_url, symbols="IBM", last=1)
    assert frame.schema["timestamp"] == pl.Datetime("us", "UTC")
    assert frame.rows() == [("IBM", AT.replace(minute=2), 10.0, 12.0, 9.0, 11.5, 7.0, None, None, None)]


def test_the_last_bars_are_those_of_each_symbol(filled):
    frame = frames.bars(filled.database_url, timeframe="5min", last=2)
    assert frame.select("symbol", pl.col("timestamp").dt.minute()).rows() == [
        ("AIG", 5), ("AIG", 10), ("IBM", 5), ("IBM", 10)
    ]  # fmt: skip
    assert frame.columns == ["symbol", "timestamp", "open", "high", "low", "close", "volume"]


def test_bars_within_a_time_may_be_none(filled):
    assert frames.bars(filled.database_url, start="2026-03-02T15:01", end="2026-03-02T15:02").height == 2
    assert frames.bars(filled.database_url, start="2027-01-01").height == 0


def test_patterns_are_a_frame_with_direction_and_levels(filled):
    assert frames.patterns(filled.database_url).rows() == [
        ("IBM", AT.replace(minute=1), "1min", "Hammer", 0.75, "bullish", 11.5, 7.0, [10.5], FLOW)
    ]
    assert frames.patterns(filled.database_url, names="Doji").height == 0


def test_indicators_have_a_row_for_each_output(filled):
    assert frames.indicators(filled.database_url, symbols=["IBM"]).rows() == [
        ("IBM", AT, "1min", "MACD", "hist", 0.5),
        ("IBM", AT, "1min", "MACD", "macd", 1.0),
        ("IBM", AT, "5min", "SMA_5", "sma_5", 10.5),
    ]


def test_without_an_address_the_environment_s_database_is_read(filled, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", filled.database_url)
    assert frames.bars().height == 6
    monkeypatch.delenv("DATABASE_URL")
    with pytest.raises(UsageError, match="no database is named"):
        frames.bars()


@pytest.mark.parametrize(
    "wrong", [{"timeframe": "2min"}, {"start": "soon"}], ids=["a timeframe that is none", "a time that is none"]
)
def test_what_is_not_to_be_had_is_refused(filled, wrong):
    with pytest.raises(UsageError):
        frames.bars(filled.database_url, **wrong)


def test_a_chart_is_a_picture_of_the_bars_and_their_patterns(filled, tickstock, tmp_path):
    ran = tickstock("chart", "IBM", "--out", tmp_path / "ibm.png", servers=filled)
    assert (ran.returncode, ran.stdout) == (0, f"3 bars, 1 patterns: {tmp_path / 'ibm.png'}\n"), ran.stderr
    assert (tmp_path / "ibm.png").read_bytes().startswith(b"\x89PNG")


def test_a_chart_as_svg_names_the_pattern(filled, tickstock, tmp_path):
    tickstock("chart", "IBM", "--out", tmp_path / "ibm.svg", servers=filled)
    text = (tmp_path / "ibm.svg").read_text()
    assert "<!-- Hammer -->" in text
    assert "<!-- IBM, 1min -->" in text


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("XXXX",), 1, "no 1min bars of XXXX"),
        (("IBM", "--timeframe", "hourly"), 1, "no hourly bars of IBM"),
        (("IBM", "--out", "ibm.txt"), 2, "its name must end in .png, .svg, .pdf"),
    ],
)
def test_a_chart_of_nothing_says_why(filled, tickstock, arguments, code, says):
    ran = tickstock("chart", *arguments, servers=filled)
    assert (ran.returncode, says in ran.stderr) == (code, True), ran.stderr
