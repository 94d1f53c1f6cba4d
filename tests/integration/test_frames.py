"""Bars, patterns, indicators and backtests as frames, and as a picture."""

import re
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import polars as pl
import psycopg
import pytest
from tickstockpl import frames
from tickstockpl.contracts.errors import UsageError

FLOW = "6f1f7a3e-1d2c-5b4a-9e8f-0a1b2c3d4e5f"
AT = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")
# A daily pattern and a weekly indicator, as a daily run writes them; each week has a bar of another symbol.
LONGER = """
INSERT INTO symbols (symbol) VALUES ('KO');
INSERT INTO ohlcv_daily (symbol, date, open, high, low, close, volume)
SELECT 'KO', '2026-01-05'::date + n, 50, 51, 49, 50.5, 1000 FROM generate_series(0, 40) AS n
 WHERE extract(isodow FROM '2026-01-05'::date + n) < 6;
INSERT INTO daily_patterns (symbol, pattern_type, confidence, pattern_data, detection_timestamp, expiration_date,
                            metadata)
VALUES ('KO', 'Doji', 0.75, '{"direction": 0, "bar": {"close": 50.5, "volume": 1000}}', '2026-02-02 21:00+00',
        '2026-02-07 21:00+00', '{"flow_id": "of the day", "bar_start": "2026-02-02T00:00:00Z"}');
INSERT INTO daily_indicators (symbol, indicator_type, value, value_data, calculation_timestamp, expiration_date,
                              timeframe)
VALUES ('KO', 'SMA_5', 50, '{"sma_5": 50}', '2026-02-06 21:00+00', '2026-02-20 21:00+00', 'weekly');
"""


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
        connection.execute(LONGER)
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
    assert frames.patterns(filled.database_url, symbols="IBM").rows() == [
        ("IBM", AT.replace(minute=1), "1min", "Hammer", 0.75, "bullish", 11.5, 7.0, [10.5], FLOW)
    ]
    assert frames.patterns(filled.database_url, names="Doji", timeframe="1min").height == 0


def test_indicators_have_a_row_for_each_output(filled):
    assert frames.indicators(filled.database_url, symbols=["IBM"]).rows() == [
        ("IBM", AT, "1min", "MACD", "hist", 0.5),
        ("IBM", AT, "1min", "MACD", "macd", 1.0),
        ("IBM", AT, "5min", "SMA_5", "sma_5", 10.5),
    ]


def test_bars_of_days_begin_at_midnight_in_new_york(filled):
    frame = frames.bars(filled.database_url, timeframe="daily", start="2026-02-02", end="2026-02-03", zone=NEW_YORK.key)
    assert frame.rows() == [("KO", datetime(2026, 2, 2, tzinfo=NEW_YORK), 50.0, 51.0, 49.0, 50.5, 1000.0)]
    assert frame.schema["timestamp"] == pl.Datetime("us", "America/New_York")
    assert frames.bars(filled.database_url, symbols="KO", timeframe="daily", last=1)["timestamp"].item() == datetime(
        2026, 2, 13, 5, tzinfo=UTC
    )


def test_patterns_and_indicators_of_daily_runs_are_there_too(filled):
    day = datetime(2026, 2, 2, 5, tzinfo=UTC)  # the Monday of the week whose last close the indicator has
    pattern = ("KO", day, "daily", "Doji", 0.75, "neutral", 50.5, 1000.0, [], "of the day")
    assert frames.patterns(filled.database_url, symbols="KO").rows() == [pattern]
    assert frames.patterns(filled.database_url, timeframe="weekly").height == 0
    assert frames.patterns(filled.database_url)["symbol"].to_list() == ["IBM", "KO"]
    assert frames.indicators(filled.database_url, timeframe="weekly").rows() == [
        ("KO", day, "weekly", "SMA_5", "sma_5", 50.0)
    ]


@pytest.fixture(scope="module")
def tested(filled):
    """Return a backtest on a hammer that A's 40th day is: entered at the next open, 100, and held to the end, 101."""
    days = [date(2025, 1, 1).toordinal() + n for n in range(40)]
    fall = [(140.0 - n, 140.6 - n, 139.4 - n, 139.7 - n) for n in range(39)]
    bars = [*fall, (100.0, 100.15, 96.0, 100.1), (100.0, 101.5, 99.9, 101.0)]
    with psycopg.connect(filled.database_url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO symbols (symbol) VALUES ('A')")
        cursor.executemany(
            "INSERT INTO ohlcv_daily (symbol, date, open, high, low, close, volume) "
            "VALUES ('A', %s, %s, %s, %s, %s, 1e6)",
            [(date.fromordinal(day), *bar) for day, bar in zip([*days, days[-1] + 1], bars, strict=True)],
        )
    return frames.backtest(
        filled.database_url, symbols="A", patterns="Hammer", start=date(2025, 1, 30), end="2025-02-28",
        zone=NEW_YORK.key, commission_rate=0, slippage_rate=0, max_position_size=1.0,
    )  # fmt: skip


def test_a_backtest_is_frames_of_trades_equity_and_figures(tested):
    columns = (
        "symbol",
        "pattern",
        "direction",
        "entry_time",
        "entry_price",
        "exit_price",
        "shares",
        "profit",
        "reason",
    )
    assert tested.trades.select(columns).rows() == [
        ("A", "Hammer", "long", datetime(2025, 2, 10, tzinfo=NEW_YORK), 100.0, 101.0, 1000, 1000.0, "end_of_data")
    ]
    assert tested.equity.schema["time"] == pl.Datetime("us", "America/New_York")
    assert tested.equity.rows()[-1][:2] == (datetime(2025, 2, 10, tzinfo=NEW_YORK), 101_000.0)
    assert tested.figures.select("account", "final_equity").rows()[0] == ("patterns", 101_000.0)
    assert tested.figures["account"].to_list() == ["patterns", "buy and hold"]


def test_notebooks_show_the_pictures_of_bars_and_of_a_backtest(filled, tested):
    drawn = frames.plot("IBM", filled.database_url, zone=NEW_YORK.key)
    prices, volumes = drawn.axes
    assert (prices.get_title(), volumes.get_xlabel()) == ("IBM, 1min", "2026-03-02, America/New_York")
    assert [text.get_text() for text in prices.texts] == ["Hammer"]
    assert [tick.get_text() for tick in volumes.get_xticklabels()] == ["10:00", "10:01", "10:02"]
    assert [text.get_text() for text in frames.plot("KO", filled.database_url, timeframe="daily").axes[0].texts] == [
        "Doji"
    ]
    (axes,) = tested.plot().axes
    assert [line.get_label() for line in axes.lines] == ["patterns", "buy and hold", "closed trades"]
    assert [line.get_ydata()[-1] for line in axes.lines[::2]] == [101_000.0, 101_000.0]
    assert drawn._repr_png_().startswith(b"\x89PNG")


def test_without_an_address_the_environment_s_database_is_read(filled, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", filled.database_url)
    assert frames.bars().height == 6
    monkeypatch.delenv("DATABASE_URL")
    with pytest.raises(UsageError, match="no database is named"):
        frames.bars()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"timeframe": "2min"}, "timeframe '2min' is not one of 1min"),
        ({"start": "soon"}, "'soon' is not an ISO-8601 time"),
        ({"zone": "New York"}, "there is no time zone 'New York'"),
    ],
)
def test_what_is_not_to_be_had_is_refused(filled, wrong, says):
    with pytest.raises(UsageError, match=says):
        frames.bars(filled.database_url, **wrong)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"stop_los": 0.1}, "there is no rule 'stop_los'; there are: initial_capital, "),
        ({"max_bars": "ten"}, "rules: Expected `int | null`, got `str`"),
        ({"start": "soon"}, "'soon' is not a date"),
        ({"patterns": "Humbug"}, "there is no pattern Humbug"),
    ],
)
def test_a_backtest_of_what_does_not_exist_is_refused(filled, wrong, says):
    known = {"symbols": "KO", "patterns": "Doji", "start": "2026-01-05", "end": "2026-02-13"}
    with pytest.raises(UsageError, match=re.escape(says)):
        frames.backtest(filled.database_url, **known | wrong)


def test_the_command_writes_a_folder_of_days(filled, tickstock, tmp_path):
    ran = tickstock("bars", "--format", "parquet", "--by-day", tmp_path, servers=filled)
    assert (ran.returncode, ran.stderr) == (0, f"1 days: {tmp_path}\n")
    assert pl.read_parquet(tmp_path, hive_partitioning=True).height == 6
    for wrong in (("--by-day", tmp_path), ("--format", "parquet"), ("--format", "csv", "--by-day", tmp_path)):
        assert tickstock("bars", *wrong, servers=filled).returncode == 2


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


@pytest.mark.parametrize(
    "wrong",
    [
        *({"last": last} for last in (0, -1, 2.5, "5", True)),
        *({"symbols": symbols} for symbols in (5, b"IBM", [5], ["IBM", None], "I\0BM", "\ud800")),
        *({"zone": zone} for zone in (None, "", "America", "A" * 1000, "../../etc/passwd")),
        *({"start": start} for start in (1_748_871_000, "yesterday", ("2026", "03"))),
        {"timeframe": "1m"},
        {"database": 5},
    ],
    ids=repr,
)
@pytest.mark.parametrize("function", [frames.bars, frames.patterns, frames.indicators])
def test_a_wrong_argument_is_a_usage_error(filled, function, wrong):
    with pytest.raises(UsageError):
        function(**({"database": filled.database_url} | wrong))


def test_bars_and_a_picture_need_one_timeframe_and_a_picture_one_symbol(filled):
    with pytest.raises(UsageError, match="timeframe None"):
        frames.bars(filled.database_url, timeframe=None)
    with pytest.raises(UsageError, match="timeframe None"):
        frames.plot("IBM", filled.database_url, timeframe=None)
    for symbols in (["IBM", "AIG"], None):
        with pytest.raises(UsageError, match="one symbol"):
            frames.plot(symbols, filled.database_url)


def test_the_last_of_more_bars_than_there_are_is_all_of_them(filled):
    assert frames.bars(filled.database_url, last=10**30).height == 6


def test_a_date_is_a_time_at_midnight_utc(filled):
    assert frames.bars(filled.database_url, start=date(2026, 3, 2), end=date(2026, 3, 3)).height == 6
    assert frames.bars(filled.database_url, start=date(2026, 3, 3)).height == 0


@pytest.mark.parametrize(
    ("function", "asked", "says"),
    [
        ("patterns", {"names": ["Hamer"]}, "no pattern 'Hamer': did you mean Hammer"),
        ("patterns", {"names": ["Hammer", "Humbug"]}, "there are: .*Doji.*Hammer"),
        ("indicators", {"names": "RSY"}, "no indicator 'RSY': .*RSI"),
        ("patterns", {"symbols": "IBN"}, "no symbol 'IBN': did you mean IBM"),
        ("indicators", {"symbols": ["IBM", "ibm"]}, "no symbol 'ibm': did you mean IBM"),
        ("bars", {"symbols": "ZZZZ"}, "no symbol 'ZZZZ': there are"),
        ("bars", {"symbols": ["ZZZZ", "YYYY"]}, "2 of the given symbols do not exist"),
        ("plot", {"symbol": "ibm"}, "no symbol 'ibm': did you mean IBM"),
    ],
)
def test_a_name_that_does_not_exist_is_refused_with_those_that_do(filled, function, asked, says):
    with pytest.raises(UsageError, match=says):
        getattr(frames, function)(database=filled.database_url, **asked)


def test_a_backtest_of_a_symbol_that_does_not_exist_is_refused_and_not_done_without_it(filled, tickstock):
    span = {"start": "2026-01-05", "end": "2026-02-10"}
    with pytest.raises(UsageError, match="no symbol 'KOO': did you mean KO"):
        frames.backtest(filled.database_url, symbols=["KO", "KOO"], patterns="Doji", **span)
    command = ("backtest", "--symbols", "KO,KOO", "--patterns", "Doji", "--from", span["start"], "--to", span["end"])
    ran = tickstock(*command, servers=filled)
    assert (ran.returncode, ran.stderr.strip()) == (2, "Error: there is no symbol 'KOO': did you mean KO?")
