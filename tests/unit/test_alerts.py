import numpy as np
import pytest
from tickstockpl.workers.detect.alerts import Crossing, alerts_of, checked_alert_parameters
from tickstockpl.workers.detect.indicators import INDICATORS
from tickstockpl.workers.windows import Windows, no_session_sums

NAN, NONE = float("nan"), no_session_sums(1)
UP, DOWN, FLAT = (100.0, 101.0), (101.0, 100.0), (100.0, 100.0)


def alerts(name, *outputs, close=UP, **parameters):
    """outputs, close: each (before, now)."""
    found = alerts_of(name, [np.array([values]) for values in outputs], np.array([close]), parameters)
    return [crossing for _, crossing in found]


def types(found):
    return [crossing.alert_type for crossing in found]


def over_all_bars(name, close):
    """Return the types of all alerts of an indicator, bar after bar."""
    indicator = INDICATORS[name]
    found = []
    for end in range(2, len(close) + 1):
        bars = np.array([close[max(0, end - 250) : end]], float)
        now = Windows(bars, bars, bars, bars, bars, np.array([bars.shape[1]]))
        steps = zip(*(indicator.compute(some, NONE, indicator.period) for some in (now.before(), now)), strict=True)
        outputs = [np.stack(step, axis=1) for step in steps]
        found += [crossing.alert_type for _, crossing in alerts_of(name, outputs, bars[:, -2:], {})]
    return found


# -- RSI ----------------------------------------------------------------------------------------------------------


def test_rsi_that_rises_through_70_is_overbought():
    assert alerts("RSI", (69.0, 71.5)) == [Crossing("RSI_OVERBOUGHT", 71.5, 70.0, "info")]


def test_rsi_that_falls_through_30_is_oversold():
    assert alerts("RSI", (31.0, 28.5), close=DOWN) == [Crossing("RSI_OVERSOLD", 28.5, 30.0, "info")]


@pytest.mark.parametrize(
    ("steps", "close"),
    [((71.0, 75.0), UP), ((75.0, 71.0), DOWN), ((29.0, 25.0), DOWN), ((69.0, 70.0), UP), ((71.0, 69.0), DOWN)],
)
def test_rsi_that_does_not_cross_outward_says_nothing(steps, close):
    assert alerts("RSI", steps, close=close) == []


def test_rsi_on_the_line_before_crosses_it_now():
    assert types(alerts("RSI", (70.0, 70.1))) == ["RSI_OVERBOUGHT"]


def test_rsi_ten_points_beyond_is_a_warning():
    assert alerts("RSI", (60.0, 80.0))[0].severity == "warning"
    assert alerts("RSI", (40.0, 20.0), close=DOWN)[0].severity == "warning"
    assert alerts("RSI", (60.0, 79.9))[0].severity == "info"


def test_lines_of_the_rsi_are_parameters():
    assert alerts("RSI", (75.0, 81.0), overbought=80.0) == [Crossing("RSI_OVERBOUGHT", 81.0, 80.0, "info")]
    assert alerts("RSI", (69.0, 71.0), overbought=80.0) == []


def test_rsi_that_moves_while_the_close_stands_says_nothing():
    assert alerts("RSI", (69.0, 71.0), close=FLAT) == []
    assert alerts("RSI", (31.0, 29.0), close=FLAT) == []


def test_rsi_that_falls_to_zero_because_its_window_is_flat_says_nothing():
    assert alerts("RSI", (50.0, 0.0), close=FLAT) == []
    assert over_all_bars("RSI", [100, 101] * 8 + [100.0] * 300) == []


# -- MACD ---------------------------------------------------------------------------------------------------------


def test_histogram_that_turns_positive_is_a_bullish_cross():
    found = alerts("MACD", (0.1, 0.3), (0.2, 0.25), (-0.1, 0.05))
    assert found == [Crossing("MACD_BULLISH_CROSS", 0.3, 0.25, "info")]


def test_histogram_that_turns_negative_is_a_bearish_cross():
    found = alerts("MACD", (0.3, 0.1), (0.25, 0.2), (0.05, -0.1))
    assert found == [Crossing("MACD_BEARISH_CROSS", 0.1, 0.2, "info")]


def test_histogram_that_keeps_its_sign_says_nothing():
    assert alerts("MACD", (0.1, 0.3), (0.0, 0.1), (0.1, 0.2)) == []
    assert alerts("MACD", (-0.1, -0.3), (0.0, -0.1), (-0.1, -0.2)) == []


def test_histogram_of_a_thousandth_of_the_close_is_a_warning():
    assert alerts("MACD", (0, 1), (0, 0.8), (-0.1, 0.2), close=(199.0, 200.0))[0].severity == "warning"
    assert alerts("MACD", (0, 1), (0, 0.81), (-0.1, 0.19), close=(199.0, 200.0))[0].severity == "info"


def test_rounding_around_zero_is_no_cross_of_the_macd():
    assert alerts("MACD", (0, 0), (0, 0), (-1e-14, 1e-14)) == []
    assert over_all_bars("MACD", [100.1] * 300) == []


# -- Bollinger bands: middle, upper, lower --------------------------------------------------------------------------


def test_close_that_rises_above_the_upper_band_breaks_it():
    found = alerts("BollingerBands", (100, 100), (102, 102), (98, 98), close=(101.9, 102.4))
    assert found == [Crossing("BB_UPPER_BREAK", 102.4, 102.0, "info")]


def test_close_that_falls_below_the_lower_band_breaks_it():
    found = alerts("BollingerBands", (100, 100), (102, 102), (98, 98), close=(98.1, 97.6))
    assert found == [Crossing("BB_LOWER_BREAK", 97.6, 98.0, "info")]


def test_close_that_stays_outside_says_nothing():
    assert alerts("BollingerBands", (100, 100), (102, 102), (98, 98), close=(102.1, 102.4)) == []


def test_close_half_a_deviation_outside_is_a_warning():
    found = alerts("BollingerBands", (100, 100), (102, 102), (98, 98), close=(101.9, 102.5))
    assert found[0].severity == "warning"


def test_rounding_beside_flat_bands_is_no_break():
    assert over_all_bars("BollingerBands", [100.1] * 300) == []


# -- all ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "outputs"), [("RSI", 1), ("MACD", 3), ("BollingerBands", 3)])
@pytest.mark.parametrize("steps", [(NAN, 99.0), (99.0, NAN)])
def test_what_is_not_there_crosses_nothing(name, outputs, steps):
    assert alerts(name, *[steps] * outputs) == []


@pytest.mark.parametrize(("name", "outputs"), [("RSI", 1), ("MACD", 3), ("BollingerBands", 3)])
def test_a_first_bar_crosses_nothing(name, outputs):
    assert alerts(name, *[(NAN, 99.0)] * outputs, close=(NAN, 99.0)) == []


def test_other_indicators_have_no_alerts():
    assert alerts("SMA_5", (1.0, 99.0)) == []


def test_parameters_not_given_are_the_defaults():
    assert checked_alert_parameters("RSI", {"overbought": 80}) == {"overbought": 80.0, "oversold": 30.0}
    assert checked_alert_parameters("MACD", {}) == {}


@pytest.mark.parametrize(
    ("name", "given", "why"),
    [
        ("RSI", {"overbuyed": 80}, "unknown parameter overbuyed"),
        ("MACD", {"overbought": 80}, "unknown parameter overbought"),
        ("RSI", {"overbought": "high"}, "not a number"),
        ("RSI", {"overbought": 20}, "oversold"),
        ("RSI", {"overbought": 120}, "oversold"),
        ("RSI", {"oversold": "nan"}, "oversold"),
    ],
)
def test_wrong_parameter_is_told(name, given, why):
    with pytest.raises(ValueError, match=why):
        checked_alert_parameters(name, given)
