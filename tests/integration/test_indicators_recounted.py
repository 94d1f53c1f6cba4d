"""Every value of every indicator on every timeframe, against a recount that shares no code with the program.

Trades are made up here (seeded) and replayed through real servers and a worker. The recount groups the same trades with
polars and calls TA-Lib once on a symbol's whole history, where the program computes each value from one window. The
days hold both changes of the clocks, half days, a holiday, midnight in UTC and in New York, the year's end, a long
pause, a split that was announced and one that nobody announced.
"""

import random
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
import talib
from psycopg.types.json import Jsonb

from .test_detection import HIGHER, SPANS, enable_every_indicator, replay, rows, seeded  # noqa: F401  # a fixture

SEED = 20_251_202
NEW_YORK = ZoneInfo("America/New_York")
HALF_DAYS = {date(2025, 11, 28), date(2025, 12, 24)}
CLOSED = {date(2025, 11, 27), date(2025, 12, 25), date(2026, 1, 1)}

MARCH = [date(2025, 3, day) for day in (6, 7, 10, 11)]  # the clocks go on in the night to the 9th
AUTUMN = [date(2025, 10, 31), date(2025, 11, 3)]  # and back in the night to November 2nd
SPLIT_DAY = date(2025, 12, 10)  # SLOW: 4 for 1, announced
JUMP_DAY = date(2026, 1, 2)  # BUSY: 10 for 1, and nobody said so
# The first day of each history: those before it lie more than ten days back, or count in other shares.
BEGINS = {
    "BUSY": [MARCH[0], AUTUMN[0], date(2025, 11, 26), date(2025, 12, 30), JUMP_DAY],
    "SLOW": [MARCH[0], date(2025, 10, 6), SPLIT_DAY],
    "NITE": [date(2025, 12, 29)],
}


class Stretch(NamedTuple):
    """Trades of a symbol in some hours of a day, New York; share: of the minutes that have any."""

    symbol: str
    day: date
    first: time
    last: time
    share: float


def trading_days(first, last):
    days = [first + timedelta(days=i) for i in range((last - first).days + 1)]
    return [day for day in days if day.isoweekday() < 6 and day not in CLOSED]


def stretches():
    busy = [*MARCH, *AUTUMN, date(2025, 11, 26), date(2025, 11, 28), date(2025, 12, 30), date(2025, 12, 31), JUMP_DAY]
    slow = [*MARCH, *trading_days(date(2025, 10, 6), date(2026, 1, 6))]
    late = trading_days(date(2025, 12, 29), date(2026, 1, 5))
    return [
        *(Stretch("BUSY", day, time(4), time(20), 0.4) for day in busy),
        *(Stretch("SLOW", day, time(4), time(20), 0.035) for day in slow),
        *(Stretch("NITE", day, time(9), time(17), 0.2) for day in late),
        *(Stretch("NITE", day, time(23), time(23, 59, 59), 0.4) for day in late),
        *(Stretch("NITE", day, time(0), time(1), 0.4) for day in (*late, date(2026, 1, 1))),
    ]


def unit_of(symbol, day):
    """Return by how much a price of this day is divided: the shares are others."""
    if symbol == "SLOW" and day >= SPLIT_DAY:
        return 4
    return 10 if symbol == "BUSY" and day >= JUMP_DAY else 1


def trades():
    """Make (symbol, Unix ns, price, size) in the order of their time."""
    numbers = random.Random(SEED)
    whole = {"BUSY": 400.0, "SLOW": 120.0, "NITE": 9.0}
    by_time = sorted(stretches(), key=lambda stretch: (stretch.day, stretch.first, stretch.symbol))
    made = []
    for symbol, day, first, last, share in by_time:
        begin, end = (int(datetime.combine(day, at, NEW_YORK).timestamp()) for at in (first, last))
        for minute in range(begin, end, 60):
            if numbers.random() >= share:
                continue
            for second in sorted(numbers.sample(range(min(60, end - minute)), numbers.randint(1, 3))):
                whole[symbol] *= 1 + numbers.gauss(0, 0.0004)
                price = round(whole[symbol] / unit_of(symbol, day), 4)
                made.append((symbol, (minute + second) * 10**9, price, numbers.choice([1, 100, 250, 700])))
    return sorted(made, key=lambda trade: trade[1])


# -- the recount -------------------------------------------------------------------------------------------------------


def regular_minutes(day):
    """Return the first minute of a day's regular hours, and the one behind the last."""
    ends = time(13) if day in HALF_DAYS else time(16)
    return tuple(int(datetime.combine(day, at, NEW_YORK).timestamp()) // 60 for at in (time(9, 30), ends))


def recounted_minutes(made):
    """Group trades into 1-minute bars, with the day of New York and the history that each belongs to."""
    frame = pl.DataFrame(made, schema=["symbol", "ts", "price", "size"], orient="row")
    bars = (
        frame.with_columns(minute=pl.col("ts") // 60_000_000_000, dollars=pl.col("price") * pl.col("size"))
        .group_by("symbol", "minute", maintain_order=True)
        .agg(
            open=pl.col("price").first(), high=pl.col("price").max(), low=pl.col("price").min(),
            close=pl.col("price").last(), volume=pl.col("size").sum(), dollars=pl.col("dollars").sum(),
        )
        .sort("symbol", "minute")
    )  # fmt: skip
    days = [datetime.fromtimestamp(minute * 60, NEW_YORK).date() for minute in bars["minute"]]
    hours = [regular_minutes(day) for day in days]
    histories = [
        sum(day >= first for first in BEGINS[symbol]) for symbol, day in zip(bars["symbol"], days, strict=True)
    ]
    regular = [first <= minute < end for minute, (first, end) in zip(bars["minute"], hours, strict=True)]
    opens, closes = zip(*hours, strict=True)
    return bars.with_columns(
        day=pl.Series(days), history=pl.Series(histories), regular=pl.Series(regular),
        opens=pl.Series(opens), closes=pl.Series(closes),
    )  # fmt: skip


def recounted_bars(minutes, span):
    """Group 1-minute bars into those of a longer timeframe, by the history that they belong to.

    A bar with a regular minute, traded or not, is a regular one, with all its trades: that of 09:00 holds those before
    the opening.
    """
    return (
        minutes.with_columns(minute=pl.col("minute") // span * span)
        .group_by("symbol", "history", "minute", maintain_order=True)
        .agg(
            pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last(),
            pl.col("volume").sum(), pl.col("opens").first(), pl.col("closes").first(),
        )
        .sort("symbol", "minute")
        .with_columns(regular=(pl.col("minute") + span > pl.col("opens")) & (pl.col("minute") < pl.col("closes")))
    )  # fmt: skip


def outputs_of(bars):
    """Call TA-Lib on a whole history: {(indicator, key): (values, largest error)}.

    A window's value may differ from that of all history by 1e-6 of the price, where an average never forgets.
    """
    opens, high, low, close, volume = (
        bars[name].cast(float).to_numpy() for name in ("open", "high", "low", "close", "volume")
    )
    del opens
    macd, signal, histogram = talib.MACD(close, 12, 26, 9)
    upper, middle, lower = talib.BBANDS(close, 20, 2.0, 2.0)
    strength = talib.RSI(close, 14)
    strength[[i for i in range(14, len(close)) if len(set(close[i - 14 : i + 1])) == 1]] = np.nan
    usual = np.array([np.nan if i < 20 else volume[i - 20 : i].mean() for i in range(len(volume))])
    price = close.max()
    return {
        ("RSI", "rsi_14"): (strength, 1e-4),
        **{(f"SMA_{n}", f"sma_{n}"): (talib.SMA(close, n), 1e-9 * price) for n in (5, 20, 50, 200)},
        **{(f"EMA_{n}", f"ema_{n}"): (talib.EMA(close, n), 1e-6 * price) for n in (12, 26)},
        ("MACD", "macd"): (macd, 1e-6 * price),
        ("MACD", "macd_signal"): (signal, 1e-6 * price),
        ("MACD", "macd_histogram"): (histogram, 1e-6 * price),
        ("BollingerBands", "bb_middle"): (middle, 1e-9 * price),
        ("BollingerBands", "bb_upper"): (upper, 1e-7 * price),  # the square root of a difference of squares
        ("BollingerBands", "bb_lower"): (lower, 1e-7 * price),
        ("ATR", "atr_14"): (talib.ATR(high, low, close, 14), 1e-6 * price),
        ("RelativeVolume", "relative_volume"): (volume / usual, 1e-9 * volume.max()),
    }


def recounted_indicators(minutes, session):
    """Return {(symbol, timeframe, end, indicator, key): (value, largest error)}.

    session: `regular` leaves out the bars that lie before the opening and after the close.
    """
    found = recounted_vwap(minutes)
    for timeframe, span in SPANS.items():
        bars = recounted_bars(minutes, span)
        if session == "regular":
            bars = bars.filter(pl.col("regular"))
        for (symbol, _), mine in bars.group_by("symbol", "history", maintain_order=True):
            ends = [datetime.fromtimestamp((minute + span) * 60, UTC) for minute in mine["minute"]]
            for (indicator, key), (values, error) in outputs_of(mine).items():
                for at, value in zip(ends, values.tolist(), strict=True):
                    if np.isfinite(value):
                        found[symbol, timeframe, at, indicator, key] = (value, error)
    return found


def recounted_vwap(minutes):
    """Sum each session's dollars and shares up to the end of each bar that holds some of it."""
    found = {}
    sums = (pl.col(name).cum_sum().over("symbol", "day").alias(f"{name}_so_far") for name in ("dollars", "volume"))
    inside = minutes.filter(pl.col("regular")).with_columns(*sums)
    for timeframe, span in SPANS.items():
        ends = inside.with_columns(end=(pl.col("minute") // span + 1) * span)
        last = ends.group_by("symbol", "end", maintain_order=True).agg(pl.all().last())
        for bar in last.iter_rows(named=True):
            at = datetime.fromtimestamp(bar["end"] * 60, UTC)
            value = bar["dollars_so_far"] / bar["volume_so_far"]
            found[bar["symbol"], timeframe, at, "VWAP", "vwap"] = (value, 2e-9)
    return found


# -- the tests ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def made():
    return trades()


def test_the_days_hold_what_they_are_chosen_for(made):
    minutes = recounted_minutes(made)
    days = {symbol: set(minutes.filter(pl.col("symbol") == symbol)["day"]) for symbol in BEGINS}
    assert days["BUSY"] >= {*MARCH, *AUTUMN, date(2025, 11, 28), date(2025, 12, 31), JUMP_DAY}
    assert days["SLOW"] >= {date(2025, 11, 26), date(2025, 11, 28), date(2025, 12, 24), date(2025, 12, 31), SPLIT_DAY}
    nights = minutes.filter(pl.col("symbol") == "NITE")["minute"].to_list()
    midnights = [int(datetime(2026, 1, 1, tzinfo=zone).timestamp()) // 60 for zone in (UTC, NEW_YORK)]
    # The year ends between two trades that lie an hour apart at most, in New York; in UTC in the evening of BUSY.
    assert any(before < midnights[1] <= after < before + 60 for before, after in pairwise(nights))
    evenings = minutes.filter(pl.col("symbol") == "BUSY")["minute"].to_list()
    assert any(before < midnights[0] <= after < before + 60 for before, after in pairwise(evenings))
    hourly = recounted_bars(minutes, 60).filter(pl.col("symbol") == "SLOW", "regular").group_by("history").len()
    assert hourly["len"].max() > 250  # more than a window has, and every average with it
    assert sorted(HIGHER.values()) == [5, 15, 30, 60]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("session", ["regular", pytest.param("extended", marks=pytest.mark.slow)])
@pytest.mark.usefixtures("seeded")
def test_every_value_of_every_indicator_is_that_of_a_recount_over_all_history(
    session, made, tickstock, migrated_servers, tmp_path, figure
):
    servers = migrated_servers  # seeded
    enable_every_indicator(servers)
    if session != "regular":  # which every seeded row says
        rows(servers, "UPDATE indicator_definitions SET parameters = parameters || %s", Jsonb({"session": session}))
    splits = tmp_path / "splits.csv"
    splits.write_text(f"symbol,ex_date,ratio\nSLOW,{SPLIT_DAY},4\n")
    noted = tickstock("splits", "import", splits, servers=servers)
    assert noted.returncode == 0, noted.stderr
    file = tmp_path / "days.csv"
    lines = (f"{symbol},{price},{ts},{size}" for symbol, ts, price, size in made)
    file.write_text("\n".join(["ticker,price,sip_timestamp,size", *lines]) + "\n")
    replay(tickstock, servers, file)

    expected, found = recounted_indicators(recounted_minutes(made), session), stored(servers)
    lacking, beyond = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    assert (len(lacking), lacking[:5], len(beyond), beyond[:5]) == (0, [], 0, [])
    wrong = {
        key: (found[key], value) for key, (value, error) in expected.items() if not abs(found[key] - value) <= error
    }
    figure(f"{session}: {len(expected):,} values of {len({key[3] for key in expected})} indicators, {len(wrong)} wrong")
    assert (len(wrong), dict(list(wrong.items())[:5])) == (0, {})
    assert {key[3] for key in expected} == {name for (name,) in rows(servers, "SELECT name FROM indicator_definitions")}
    assert {key[1] for key in expected if key[3] == "SMA_200"} == set(SPANS)


def stored(servers):
    """Read every output: {(symbol, timeframe, end, indicator, key): value}; each is there once."""
    statement = "SELECT symbol, timeframe, calculation_timestamp, indicator_type, value_data FROM intraday_indicators"
    found = {}
    for symbol, timeframe, at, indicator, values in rows(servers, statement):
        for key, value in values.items():
            place = (symbol, timeframe, at.astimezone(UTC), indicator, key)
            assert place not in found
            found[place] = value
    return found
