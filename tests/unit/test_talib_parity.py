"""Every bar of every symbol: what we find in the 250 bars up to it is what TA-Lib says of these very bars."""

import csv
import os
from collections import defaultdict
from math import fsum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import talib
from numpy.lib.stride_tricks import sliding_window_view
from tickstockpl.workers.detect.indicators import INDICATORS
from tickstockpl.workers.detect.patterns.candlesticks import DOJI, FUNCTIONS, HAMMER, KINDS
from tickstockpl.workers.windows import Windows, no_session_sums

SEED = 20131007  # of the synthetic bars that stand in where there are no real ones
BARS = 250
DAILY = ["daily_dev.csv"]
MINUTES = ["bars_strict_2013-10-07.csv", "bars_strict_2013-10-08.csv"]
OTHERS = [kind for kind in KINDS if kind not in (DOJI, HAMMER)]
# Of these TA-Lib's source says that the sign does not mean bullish or bearish.
NEITHER = {
    "Doji",
    "DragonflyDoji",
    "GravestoneDoji",
    "HighWaveCandle",
    "LongLeggedDoji",
    "RickshawMan",
    "ShortLineCandle",
    "SpinningTop",
    "Takuri",
}


class Bars(NamedTuple):
    """Columns of some bars of one symbol, oldest first."""

    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray

    def up_to(self, bar):
        """Return copies of the last 250 bars up to this one."""
        return Bars(*(column[max(0, bar + 1 - BARS) : bar + 1].copy() for column in self))


def rsi(bars):
    still = len(bars.close) > 14 and len(set(bars.close[-15:].tolist())) == 1
    return [[np.nan]] if still else [talib.RSI(bars.close, timeperiod=14)]


TALIB = {
    "RSI": rsi,
    "SMA_5": lambda bars: [talib.SMA(bars.close, timeperiod=5)],
    "SMA_20": lambda bars: [talib.SMA(bars.close, timeperiod=20)],
    "SMA_50": lambda bars: [talib.SMA(bars.close, timeperiod=50)],
    "SMA_200": lambda bars: [talib.SMA(bars.close, timeperiod=200)],
    "EMA_12": lambda bars: [talib.EMA(bars.close, timeperiod=12)],
    "EMA_26": lambda bars: [talib.EMA(bars.close, timeperiod=26)],
    "MACD": lambda bars: talib.MACD(bars.close, fastperiod=12, slowperiod=26, signalperiod=9),
    "BollingerBands": lambda bars: middle_first(talib.BBANDS(bars.close, timeperiod=20, nbdevup=2, nbdevdn=2)),
    "ATR": lambda bars: [talib.ATR(bars.high, bars.low, bars.close, timeperiod=14)],
}


def middle_first(bands):
    upper, middle, lower = bands
    return [middle, upper, lower]


@pytest.fixture(scope="module", params=[DAILY, MINUTES], ids=["daily", "minutes"])
def symbols(request):
    """Give the bars of each symbol, those of several files one behind the other."""
    folder = os.environ.get("TICKSTOCK_TEST_DATA")
    if not folder:
        return {f"synthetic, seed {SEED}": synthetic_bars(3_000, SEED)}
    rows = defaultdict(list)
    for name in request.param:
        with (Path(folder) / name).open() as file:
            for row in csv.DictReader(file):
                rows[row["symbol"]].append([float(row[column]) for column in Bars._fields])
    return {symbol: Bars(*np.array(bars).T.copy()) for symbol, bars in rows.items()}


def synthetic_bars(count, seed):
    """Make a random walk in whole cents, with flat bars and a split."""
    rng = np.random.default_rng(seed)
    close = np.round(50 + 0.01 * np.cumsum(rng.integers(-5, 6, count)), 2)
    close[count // 2 :] = np.round(close[count // 2 :] / 7, 2)
    open_ = np.round(close + 0.01 * rng.integers(-4, 5, count), 2)
    high = np.round(np.maximum(open_, close) + 0.01 * rng.integers(0, 8, count), 2)
    low = np.round(np.minimum(open_, close) - 0.01 * rng.integers(0, 8, count), 2)
    flat = rng.random(count) < 0.1
    for column in (open_, high, low):
        column[flat] = close[flat]
    return Bars(open_, high, low, close, rng.integers(0, 1_000, count).astype(float))


def all_windows(bars):
    """Return one window for each bar: views of the columns, padded at the left."""
    padded = [sliding_window_view(np.concatenate([np.full(BARS - 1, np.nan), column]), BARS) for column in bars]
    return Windows(*padded, np.minimum(np.arange(1, len(bars.close) + 1), BARS))


def differences(kinds, symbols, step=1):
    """Return each (candlestick, symbol, bar) that is not what TA-Lib, asked about the 250 bars up to it, says."""
    return [
        (kind.name, symbol, bar)
        for symbol, bars in symbols.items()
        for kind in kinds
        for bar in differing_bars(kind, bars, step)
    ]


def differing_bars(kind, bars, step):
    windows = Windows(*(column[::step] for column in all_windows(bars)[:6]))
    by_talib = {"rule": "talib"} if "rule" in kind.parameters else {}
    by_talib |= dict.fromkeys(kind.parameters.keys() & {"min_ticks", "min_atr", "min_move"}, 0.0)  # the shape alone
    found = kind.find(windows, {**kind.parameters, **by_talib})
    function = getattr(talib, {"Doji": "CDLDOJI", "Hammer": "CDLHAMMER", **FUNCTIONS}[kind.name])
    for row, bar in enumerate(range(0, len(bars.close), step)):
        given = bars.up_to(bar)
        expected = int(function(given.open, given.high, given.low, given.close)[-1])
        if given.high[-1] == given.low[-1]:
            expected = 0
        direction = 0 if kind.name in NEITHER else np.sign(expected)
        if (found.confidence[row] > 0, found.direction[row]) != (expected != 0, direction):
            yield bar


def test_doji_and_hammer_are_where_talib_finds_them_on_every_bar(symbols):
    assert differences([DOJI, HAMMER], symbols) == []


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)], ids=["every fifth bar", "every bar"])
def test_other_candlesticks_are_where_talib_finds_them(symbols, step):
    assert differences(OTHERS, symbols, step) == []


@pytest.mark.parametrize("name", TALIB)
def test_indicators_are_what_talib_computes_on_every_bar(symbols, name):
    indicator = INDICATORS[name]
    for symbol, bars in symbols.items():
        computed = np.array(indicator.compute(all_windows(bars), no_session_sums(len(bars.close)), indicator.period))
        for bar in range(len(bars.close)):
            expected = [output[-1] for output in TALIB[name](bars.up_to(bar))]
            assert computed[:, bar].tolist() == pytest.approx(expected, abs=1e-9, rel=0, nan_ok=True), (symbol, bar)


def test_relative_volume_is_the_quotient_with_the_mean_of_20_bars_on_every_bar(symbols):
    indicator = INDICATORS["RelativeVolume"]
    for symbol, bars in symbols.items():
        (computed,) = indicator.compute(all_windows(bars), no_session_sums(len(bars.close)), 20)
        for bar in range(20, len(bars.close)):
            mean = fsum(bars.volume[bar - 20 : bar]) / 20
            expected = bars.volume[bar] / mean if mean else np.nan
            assert computed[bar] == pytest.approx(expected, abs=1e-9, rel=0, nan_ok=True), (symbol, bar)
