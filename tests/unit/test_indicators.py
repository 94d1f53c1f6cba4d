import re
from pathlib import Path

import numpy as np
import pytest
import talib
from tickstockpl.workers.detect.indicators import INDICATORS
from tickstockpl.workers.windows import SessionSums, Windows


def series(close, *, high=None, low=None, volume=None, session=(np.nan, np.nan)):
    """Make one window, and the session sums up to its last bar."""
    close = np.array(close, float)
    high, low = (close if column is None else np.array(column, float) for column in (high, low))
    volume = np.full(len(close), 100.0) if volume is None else np.array(volume, float)
    columns = [column[None] for column in (close, high, low, close, volume)]
    return Windows(*columns, np.array([len(close)])), SessionSums(*(np.array([total]) for total in session))


def value_of(name, given, period=None):
    """Return the last element of each output."""
    indicator = INDICATORS[name]
    outputs = indicator.compute(*given, indicator.period if period is None else period)
    return tuple(float(output[0]) for output in outputs)


def test_simple_average_is_the_mean_of_the_last_closes():
    assert value_of("SMA_5", series([90, 1, 2, 3, 4, 5])) == (3.0,)


def test_exponential_average_starts_on_a_mean_and_moves_by_its_weight():
    assert value_of("EMA_12", series([10.0] * 12 + [23.0])) == pytest.approx((12.0,))  # 10 + 2/13 x 13


def test_rsi_starts_on_the_mean_of_14_changes():
    assert value_of("RSI", series([100, 101] * 7 + [100])) == pytest.approx((50.0,))


def test_rsi_goes_on_by_wilders_rule():
    # mean gain (13 x 0.5 + 1) / 14, mean loss 13 x 0.5 / 14
    assert value_of("RSI", series([100, 101] * 8)) == pytest.approx((100 * 7.5 / 14,))


@pytest.mark.parametrize("before", [[], [100.01], [99.99], list(range(80, 100))])
def test_closes_that_stand_still_have_no_rsi(before):
    assert np.isnan(value_of("RSI", series([*before, *[100.0] * 15])))


def test_rsi_of_one_change_among_14_is_wilders():
    assert value_of("RSI", series([101.0, *[100.0] * 14])) == (0.0,)


def test_rsi_of_a_series_that_only_rises_is_100():
    assert value_of("RSI", series(range(1, 31))) == (100.0,)


def test_macd_of_a_straight_line_is_the_difference_of_the_two_lags():
    macd, signal, histogram = value_of("MACD", series(range(1, 61)))  # an EMA of n lags (n - 1) / 2 behind a line
    assert (macd, signal) == pytest.approx((7.0, 7.0))
    assert histogram == pytest.approx(0.0, abs=1e-9)


def test_bollinger_bands_lie_two_deviations_off_the_middle_which_comes_first():
    assert value_of("BollingerBands", series([99, 101] * 10)) == pytest.approx((100.0, 102.0, 98.0))


def test_average_true_range_counts_gaps():
    close = [100.0] * 15 + [103.0]
    given = series(close, high=[101.0] * 15 + [104.0], low=[99.0] * 15 + [102.0])
    assert value_of("ATR", given) == pytest.approx(((13 * 2 + 4) / 14,))  # the gap bar's true range is 104 - 100


def test_relative_volume_leaves_its_own_bar_out_of_the_mean():
    assert value_of("RelativeVolume", series([1] * 22, volume=[9999] + [100] * 20 + [250])) == (2.5,)


def test_relative_volume_against_nothing_is_none():
    assert np.isnan(value_of("RelativeVolume", series([1] * 21, volume=[0] * 20 + [250])))


def test_vwap_is_notional_by_volume_rounded():
    assert value_of("VWAP", series([333.0], session=(1000.0, 3.0))) == (333.333333333,)


@pytest.mark.parametrize("session", [(np.nan, np.nan), (0.0, 0.0)])
def test_vwap_is_none_outside_the_session_and_before_its_first_share(session):
    assert np.isnan(value_of("VWAP", series([333.0], session=session)))


def test_rsi_and_two_averages_are_on_by_default():
    assert [name for name, indicator in INDICATORS.items() if indicator.enabled] == ["RSI", "SMA_5", "SMA_20"]


def test_outputs_are_named():
    assert {name: indicator.keys(indicator.period) for name, indicator in INDICATORS.items()} == {
        "RSI": ("rsi_14",),
        "SMA_5": ("sma_5",),
        "SMA_20": ("sma_20",),
        "SMA_50": ("sma_50",),
        "SMA_200": ("sma_200",),
        "EMA_12": ("ema_12",),
        "EMA_26": ("ema_26",),
        "MACD": ("macd", "macd_signal", "macd_histogram"),
        "BollingerBands": ("bb_middle", "bb_upper", "bb_lower"),
        "ATR": ("atr_14",),
        "RelativeVolume": ("relative_volume",),
        "VWAP": ("vwap",),
    }


def test_another_period_has_a_name_of_its_own():
    assert INDICATORS["RSI"].keys(21) == ("rsi_21",)
    assert value_of("SMA_5", series([1, 2, 3, 4, 5]), period=2) == (4.5,)


def test_an_indicator_that_needs_a_period_says_so():
    with pytest.raises(ValueError, match="period"):
        INDICATORS["RSI"].compute(*series([1.0] * 30), None)


@pytest.mark.parametrize("indicator", INDICATORS.values(), ids=INDICATORS)
def test_each_output_is_a_number_from_the_least_bars_on_and_none_before(indicator):
    closes = 100 + np.sin(np.arange(250.0))
    session = (100.0, 1.0)
    few = series(closes[: indicator.least_bars - 1], session=(np.nan, np.nan))
    enough = series(closes[: indicator.least_bars], session=session)
    names = indicator.keys(indicator.period)
    outputs = indicator.compute(*enough, indicator.period)
    assert len(outputs) == len(names)
    assert all(np.isfinite(output[-1]) for output in outputs)
    if indicator.least_bars > 1:
        assert all(np.isnan(output[-1]) for output in indicator.compute(*few, indicator.period))


FALLEN = [1000.0] * 600 + [1.0, 1.001] * 125  # before the window begins: nothing worse can have been
FALLING = [1000.0 - i for i in range(600)] + [400.0, 401.0] * 125


@pytest.mark.parametrize(
    ("name", "by_talib", "prices", "scale"),
    [
        ("RSI", talib.RSI, FALLING, 100.0),
        ("EMA_12", talib.EMA, FALLEN, 1000.0),
        ("ATR", lambda close, period: talib.ATR(close, close, close, period), FALLEN, 1000.0),
    ],
)
def test_a_window_says_of_the_longest_period_what_all_history_says_and_of_twice_it_not(name, by_talib, prices, scale):
    indicator = INDICATORS[name]

    def error(period):
        whole, window = by_talib(np.array(prices), period)[-1], value_of(name, series(prices[-250:]), period=period)[0]
        return abs(whole - window) / scale

    assert error(indicator.longest) < 1e-6
    assert error(indicator.longest * 2) > 1e-6


def test_the_longest_periods_are_those_of_the_documentation():
    text = (Path(__file__).parents[2] / "docs" / "indicators.md").read_text()
    listed = dict(re.findall(r"^\| (\w+) \| [^|]+ \| (\d+) \|$", text, re.MULTILINE))
    assert listed == {name: str(i.longest) for name, i in INDICATORS.items() if i.period is not None}


def rows_of_any_length(count, seed=41):
    """Make windows of random walks with 1 to 250 bars, half of them whole."""
    rng = np.random.default_rng(seed)
    length = np.where(rng.random(count) < 0.5, 250, rng.integers(1, 251, count))
    close = 50 + 0.01 * np.cumsum(rng.integers(-5, 6, (count, 250)), axis=1)
    high, low = close + 0.01 * rng.integers(0, 8, close.shape), close - 0.01 * rng.integers(0, 8, close.shape)
    columns = [close, high, low, close, rng.integers(0, 1_000, close.shape).astype(float)]
    missing = np.arange(250) < 250 - length[:, None]
    return Windows(*(np.where(missing, np.nan, column) for column in columns), length)


@pytest.mark.parametrize("indicator", INDICATORS.values(), ids=INDICATORS)
def test_a_row_has_the_same_value_to_the_bit_alone_and_in_any_order(indicator):
    windows = rows_of_any_length(300)
    sums = SessionSums(windows.close[:, -1] * 7, windows.volume[:, -1])
    together = np.array(indicator.compute(windows, sums, indicator.period))
    rng = np.random.default_rng(42)
    for rows in (*np.arange(300)[:, None], rng.permutation(300), rng.permutation(300)[:77]):
        some = SessionSums(sums.notional[rows], sums.volume[rows])
        alone = np.array(indicator.compute(windows.of_rows(rows), some, indicator.period))
        assert alone.tobytes() == together[:, rows].tobytes()


@pytest.mark.parametrize("indicator", INDICATORS.values(), ids=INDICATORS)
def test_an_indicator_reads_no_column_but_those_that_it_names(indicator):
    windows = rows_of_any_length(300)
    sums = SessionSums(windows.close[:, -1] * 7, windows.volume[:, -1])
    nothing = np.full(windows.close.shape, np.nan)
    others = {name: nothing for name in ("open", "high", "low", "close", "volume") if name not in indicator.columns}
    some = np.array(indicator.compute(windows._replace(**others), sums, indicator.period))
    assert some.tobytes() == np.array(indicator.compute(windows, sums, indicator.period)).tobytes()
    assert not np.isnan(some[:, windows.length == 250]).any()
