"""`tickstock patterns measure` and `draw`: files in, tables, base rates and pictures out. No server."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet
from tickstockpl.contracts.errors import UsageError
from tickstockpl.ops.cli.tickstock_command import tickstock
from tickstockpl.ops.measure.bar_files import read_markets, regular
from tickstockpl.workers.detect.patterns.base_rates import BaseRates

BARS = """symbol,timestamp,open,high,low,close,volume
A,2013-10-07T13:29:00Z,9.9,10,9.5,10,100
A,2013-10-07T13:30:00Z,10,11,9.5,10.5,200
A,2013-10-07T13:31:00Z,10.5,10.6,10.4,10.55,50.5
"""
OPENS = 23_019_210  # 2013-10-07 13:30 UTC


def run(*arguments):
    return CliRunner().invoke(tickstock, ["patterns", *map(str, arguments)])


@pytest.fixture(scope="module")
def trades(tmp_path_factory):
    """Give an hour and a half of three symbols' trades, as `tickstock sample` writes them."""
    file = tmp_path_factory.mktemp("sample") / "day.csv"
    made = ["sample", str(file), "--symbols", "3", "--rate", "5", "--seconds", "5400"]
    assert CliRunner().invoke(tickstock, made).exit_code == 0
    return file


def written(tmp_path, text, name="bars.csv"):
    file = tmp_path / name
    file.write_text(text)
    return str(file)


# -- files ---------------------------------------------------------------------------------------------------------


def test_a_file_of_bars_is_read_as_it_is_and_its_regular_hours_told_apart(tmp_path):
    (market,) = read_markets([written(tmp_path, BARS)], None)
    assert (market.symbols, market.is_daily) == (["A"], False)
    assert market.bars["minute"].tolist() == [OPENS - 1, OPENS, OPENS + 1]
    assert market.bars["volume_micro"].tolist() == [100e6, 200e6, 50.5e6]
    assert regular(market).bars["open"].tolist() == [10, 10.5]


def test_the_vendor_s_aggregates_and_packed_files_are_read(tmp_path):
    text = "ticker,volume,open,close,high,low,window_start,transactions\n" + "".join(
        f"A,{100 + i},10,10.5,11,9.5,{(OPENS + i) * 60 * 10**9},7\n" for i in range(2)
    )
    file = tmp_path / "minute_aggs.csv.gz"
    file.write_bytes(gzip.compress(text.encode()))
    (market,) = read_markets([str(file)], None)
    assert market.bars[["minute", "close", "volume_micro"]].tolist() == [(OPENS, 10.5, 100e6), (OPENS + 1, 10.5, 101e6)]


def test_parquet_as_our_own_bars_are_written_is_read(tmp_path):
    at = datetime(2013, 10, 7, 13, 30, tzinfo=UTC)
    prices = {name: [Decimal("10.5")] * 2 for name in ("open", "high", "low", "close")}
    times = pa.array([at, at + timedelta(minutes=1)], pa.timestamp("us", "UTC"))
    table = pa.table({"symbol": ["A", "A"], "timestamp": times, **prices, "volume": [Decimal("7.5"), Decimal(1)]})
    parquet.write_table(table, tmp_path / "bars.parquet")
    (market,) = read_markets([str(tmp_path / "bars.parquet")], None)
    assert market.bars[["minute", "close", "volume_micro"]].tolist() == [(OPENS, 10.5, 7.5e6), (OPENS + 1, 10.5, 1e6)]


def test_daily_bars_stand_at_the_opening_of_their_day(tmp_path):
    text = "symbol,date,open,high,low,close,volume\nA,2013-10-07,1,2,1,2,5\nA,2013-11-04,1,2,1,2,5\n"
    (market,) = read_markets([written(tmp_path, text)], None)
    assert market.is_daily
    assert market.bars["minute"].tolist() == [OPENS, 23_059_590]  # 13:30 UTC, and 14:30 after the clocks went back
    assert [str(day) for day in market.days] == ["2013-10-07", "2013-11-04"]


def test_minutes_and_days_of_one_command_are_two_markets(tmp_path):
    days = "symbol,date,open,high,low,close,volume\nB,2013-10-07,1,2,1,2,5\nB,2013-10-08,1,2,1,2,5\n"
    markets = read_markets([written(tmp_path, days, "days.csv"), written(tmp_path, BARS)], None)
    assert [(market.symbols, market.is_daily) for market in markets] == [(["A"], False), (["B"], True)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BARS + "A,2013-10-07T13:31:00Z,1,1,1,1,1\n", "two bars of A at 2013-10-07 13:31 UTC"),
        (BARS.replace("13:31", "13:35").replace("13:29", "13:25"), "bars of 5 minutes; bars of 1 minute are needed"),
        (BARS.replace(",volume", ",shares"), "no column volume"),
        (BARS.replace("timestamp", "when"), "no column timestamp or timestamp_utc_iso or window_start or date"),
        (BARS.replace("10.55", "0"), "a bar without a price above 0"),
        (BARS.replace("10.55", "x"), "cannot be read as bars"),
        (BARS.partition("\n")[0] + "\n", "fewer than two bars of any symbol"),
        ("some,thing\n1,2\n", "not a trade flat file"),
    ],
)
def test_a_file_that_is_no_such_file_is_refused_with_its_reason(tmp_path, text, why):
    with pytest.raises(UsageError, match=why):
        read_markets([written(tmp_path, text)], None)


def test_a_file_that_is_not_there_is_named(tmp_path):
    ran = run("measure", tmp_path / "none.csv")
    assert ran.exit_code == 2
    assert "none.csv" in ran.output


# -- the command ---------------------------------------------------------------------------------------------------


def test_trades_are_measured_end_to_end_and_again_the_same(tmp_path, trades):
    out, rates = tmp_path / "out", tmp_path / "rates.json"
    arguments = (trades, "--shuffles", 2, "--timeframe", "1min", "--timeframe", "5min")
    ran = run("measure", *arguments, "--out", out, "--write-base-rates", rates)
    assert ran.exit_code == 0, ran.output
    assert ran.output == (out / "patterns.md").read_text()
    report = json.loads((out / "patterns.json").read_text())
    assert report["files"] == ["day.csv"]
    minutes = report["measured"]["1min"]
    assert (minutes["bars"], minutes["symbol_days"], minutes["days"]["named"]) == (270, 3, ["2025-06-02"])
    assert report["measured"]["5min"]["bars"] == 54
    doji = next(row for row in report["rows"] if (row["pattern"], row["timeframe"]) == ("Doji", "1min"))
    assert doji["told"] > 0
    assert doji["told_per_1000"] == pytest.approx(doji["told"] * 1000 / 270)
    assert doji["within_day"]["mean"] > 0
    again = run("measure", *arguments, "--json")
    assert json.loads(again.output) == report
    shipped = msgspec.json.decode(rates.read_bytes(), type=BaseRates)
    assert shipped.days["1min"].endswith(": 2025-06-02")
    hits = {(r["pattern"], r["timeframe"], r["direction"]): r["hits"] for r in report["rows"] if r["hits"]}
    assert {(r.pattern, r.timeframe, r.direction): (r.hits, r.of) for r in shipped.rates} == {
        key: (one["hits"], one["of"]) for key, one in hits.items()
    }
    assert shipped.rules.keys() == {pattern for pattern, _, _ in hits}


def test_a_measurement_is_set_beside_the_one_before(tmp_path, trades):
    arguments = ("measure", trades, "--shuffles", 0, "--timeframe", "1min")
    assert run(*arguments, "--out", tmp_path).exit_code == 0
    report = json.loads((tmp_path / "patterns.json").read_text())
    report["rows"][0] |= {"told": 77, "told_per_symbol_day": 25.7}
    (tmp_path / "before.json").write_text(json.dumps(report))
    ran = run(*arguments, "--compare", tmp_path / "before.json")
    assert ran.exit_code == 0, ran.output
    line = next(line for line in ran.output.splitlines() if line.startswith(f"| 1min | {report['rows'][0]['pattern']}"))
    assert "| 77 (" in line
    assert "| 25.70 |" in line or "| 26 |" in line
    assert "cannot be compared" not in ran.output


def test_measurements_of_other_bars_are_not_compared_in_silence(tmp_path, trades):
    assert run("measure", trades, "--shuffles", 0, "--timeframe", "1min", "--out", tmp_path).exit_code == 0
    report = json.loads((tmp_path / "patterns.json").read_text())
    report["measured"]["1min"]["bars"] = 1
    (tmp_path / "before.json").write_text(json.dumps(report))
    ran = run("measure", trades, "--shuffles", 0, "--timeframe", "1min", "--compare", tmp_path / "before.json")
    assert "The two reports are of different bars: their rates cannot be compared." in ran.output


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--pattern", "Wedge"], "there is no pattern Wedge; there are: Doji, Hammer"),
        (["--compare", "{text}"], "not a report of `tickstock patterns measure`"),
        (["--timeframe", "daily"], "the files have no bars of regular hours on these timeframes"),
    ],
)
def test_what_cannot_be_measured_is_said(tmp_path, trades, arguments, why):
    text = written(tmp_path, "{}", "text.json")
    ran = run("measure", trades, "--shuffles", "0", *(part.format(text=text) for part in arguments))
    assert ran.exit_code in {1, 2}
    assert why in ran.output


def test_an_option_before_the_command_s_name_is_not_dropped_in_silence(trades):
    ran = run("--pattern", "Doji", "measure", trades)
    assert ran.exit_code == 2
    assert "put options of `tickstock patterns measure` after its name" in ran.output


def test_told_patterns_are_drawn_as_many_as_there_are(tmp_path, trades):
    ran = run("draw", trades, "--pattern", "Doji,HeadShoulders", "--count", "2", "--out", tmp_path / "pictures")
    assert ran.exit_code == 0, ran.output
    assert sorted(file.name for file in (tmp_path / "pictures").iterdir()) == ["Doji-01.png", "Doji-02.png"]
    assert (tmp_path / "pictures" / "Doji-01.png").read_bytes().startswith(b"\x89PNG")
    assert "min 2025-06-02 " in ran.output


def test_where_nothing_is_told_there_is_no_picture(tmp_path, trades):
    ran = run("draw", trades, "--pattern", "HeadShoulders", "--timeframe", "hourly", "--out", tmp_path)
    assert ran.exit_code == 1
    assert "none of these patterns is found" in ran.output
