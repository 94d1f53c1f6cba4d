from pathlib import Path

import numpy as np
import pytest
import talib
from tickstockpl.workers.detect.patterns import candlesticks
from tickstockpl.workers.detect.patterns.candlesticks import DOJI, FUNCTIONS, HAMMER, KINDS
from tickstockpl.workers.windows import WINDOW, Windows

KIND = {kind.name: kind for kind in KINDS}
ORDINARY = (100.0, 100.5, 99.5, 100.25)  # open, high, low, close: range 1.00, body 0.25
ROWS = 200


def windows(*rows):
    """rows: each a list of bars (open, high, low, close), oldest first."""
    columns = np.full((4, len(rows), WINDOW), np.nan)
    for row, bars in enumerate(rows):
        columns[:, row, WINDOW - len(bars) :] = np.array(bars, float).T
    volume = np.where(np.isnan(columns[0]), np.nan, 100.0)
    return Windows(*columns, volume, np.array([len(bars) for bars in rows]))


def shape_of(kind):
    """Return a kind's parameters without what is asked for beside the shape: a range, and a move before it."""
    return {**kind.parameters, **dict.fromkeys(kind.parameters.keys() & {"min_ticks", "min_atr", "min_move"}, 0.0)}


def one(kind, bars, **parameters):
    """Return (confidence, direction) of a pattern's shape on the last of these bars."""
    found = kind.find(windows(bars), {**shape_of(kind), **parameters})
    return found.confidence.item(), found.direction.item()


def by_talib(kind):
    """Return a kind's parameters with TA-Lib's rule and nothing else."""
    return {**shape_of(kind), "rule": "talib"} if "rule" in kind.parameters else shape_of(kind)


def after_ordinary(*bars, count=10):
    return [*[ORDINARY] * count, *bars]


def random_windows(seed, *, spike=0.0):
    """Bars in whole cents with small bodies and ranges, so that many lie exactly on a limit; some rows are constant."""
    rng = np.random.default_rng(seed)
    shape = (ROWS, WINDOW)
    close = np.round(20 + 0.01 * np.cumsum(rng.integers(-3, 4, shape), axis=1), 2)
    open_ = np.round(close + 0.01 * rng.integers(-2, 3, shape), 2)
    high = np.round(np.maximum(open_, close) + 0.01 * rng.integers(0, 7, shape), 2)
    low = np.round(np.minimum(open_, close) - 0.01 * rng.integers(0, 7, shape), 2)
    for column in (open_, high, low, close):
        column[:3] = 20.0
    high[:, 50] += spike
    open_[3, -1] = close[3, -1] = low[3, -1] = high[3, -1]
    length = rng.integers(1, WINDOW + 1, ROWS)
    length[::2] = WINDOW
    missing = np.arange(WINDOW) < WINDOW - length[:, None]
    for column in (open_, high, low, close):
        column[missing] = np.nan
    return Windows(open_, high, low, close, np.where(missing, np.nan, 1.0), length)


def asked_of_talib(function, given):
    """Return TA-Lib's value for each row's last bar, 0 where it has no range."""
    values = []
    for row, length in enumerate(given.length):
        open_, high, low, close = (column[row, WINDOW - length :].copy() for column in given[:4])
        flat = high[-1] == low[-1]
        values.append(0 if flat else int(getattr(talib, function)(open_, high, low, close)[-1]))
    return np.array(values)


# -- Doji ---------------------------------------------------------------------------------------------------------


def test_open_equal_to_close_is_a_doji_of_full_confidence():
    assert one(DOJI, after_ordinary((100.0, 100.5, 99.5, 100.0)), rule="talib") == (1.0, 0)


def test_confidence_of_a_doji_falls_with_its_body_to_one_half_at_the_limit():
    half_way = one(DOJI, after_ordinary((100.0, 100.5, 99.5, 100.05)), rule="talib")
    assert half_way == (pytest.approx(0.75, abs=1e-9), 0)
    assert one(DOJI, after_ordinary((100.0, 100.5, 99.5, 100.0999)), rule="talib") == (
        pytest.approx(0.5005, abs=1e-9),
        0,
    )


def test_body_above_a_tenth_of_the_mean_range_is_no_doji():
    assert one(DOJI, after_ordinary((100.0, 100.5, 99.5, 100.11)), rule="talib") == (0.0, 0)


def test_limit_of_a_doji_is_the_mean_range_before_it_not_its_own():
    assert one(DOJI, after_ordinary((100.0, 110.0, 90.0, 100.11)), rule="talib") == (0.0, 0)
    assert one(DOJI, after_ordinary((100.0, 100.05, 100.0, 100.05)), rule="talib") == (pytest.approx(0.75, abs=1e-9), 0)


def test_bar_without_range_is_no_doji_though_talib_says_so():
    bars = after_ordinary((100.0, 100.0, 100.0, 100.0))
    assert talib.CDLDOJI(*np.array(bars).T.copy())[-1] == 100
    assert one(DOJI, bars, rule="talib") == (0.0, 0)
    assert one(DOJI, bars, rule="ratios") == (0.0, 0)


def test_doji_by_talib_needs_ten_bars_before_it():
    doji = (100.0, 100.5, 99.5, 100.0)
    assert one(DOJI, after_ordinary(doji, count=9), rule="talib") == (0.0, 0)
    assert one(DOJI, after_ordinary(doji, count=10), rule="talib") == (1.0, 0)


def test_the_first_bar_of_a_symbol_may_be_a_doji():
    assert one(DOJI, [(100.0, 100.5, 99.5, 100.05)]) == (pytest.approx(0.75), 0)
    assert one(DOJI, [(100.0, 100.5, 99.5, 100.11)]) == (0.0, 0)


def test_ratios_measure_a_doji_by_its_own_range():
    wide = after_ordinary((100.0, 110.0, 90.0, 101.0))
    assert one(DOJI, wide, rule="talib") == (0.0, 0)
    assert one(DOJI, wide, rule="ratios") == (pytest.approx(0.75), 0)
    assert one(DOJI, wide, rule="ratios", max_body_of_range=0.05) == (0.0, 0)


def test_ratios_refuse_a_doji_below_the_least_range():
    tiny = after_ordinary((100.0, 100.0005, 100.0, 100.0))
    assert one(DOJI, tiny, rule="ratios") == (0.0, 0)
    assert one(DOJI, tiny, rule="ratios", min_range=0.0001) == (1.0, 0)


# -- Hammer -------------------------------------------------------------------------------------------------------


def test_confidence_of_a_hammer_is_the_share_of_its_lower_shadow_less_its_upper_one():
    without_upper = (99.5, 99.75, 98.75, 99.75)  # body 0.25 is not below the mean body, 0.25
    assert one(HAMMER, after_ordinary(without_upper, count=11)) == (0.0, 0)
    assert one(HAMMER, after_ordinary((99.5, 99.7, 98.7, 99.7), count=11)) == (pytest.approx(0.8), 1)
    assert one(HAMMER, after_ordinary((99.5, 99.75, 98.75, 99.7), count=11)) == (pytest.approx(0.75 * 0.95), 1)


def test_body_above_the_low_of_the_bar_before_by_more_than_a_fifth_of_the_range_is_no_hammer():
    assert one(HAMMER, after_ordinary((99.7, 99.8, 98.8, 99.8), count=11)) == (pytest.approx(0.9), 1)
    assert one(HAMMER, after_ordinary((99.71, 99.81, 98.81, 99.81), count=11)) == (0.0, 0)


def test_nearness_is_measured_by_the_five_ranges_before_the_bar_before():
    narrow, near = (100.0, 100.05, 99.95, 100.0), (100.13, 100.23, 99.13, 100.23)  # 0.18 above the narrow bar's low
    assert one(HAMMER, after_ordinary(narrow, near, count=11)) == (pytest.approx(10 / 11), 1)


def test_upper_shadow_of_a_tenth_of_the_mean_range_is_no_hammer():
    assert one(HAMMER, after_ordinary((99.5, 99.71, 98.7, 99.6), count=11)) == (0.0, 0)


def test_hammer_needs_eleven_bars_before_it():
    hammer = (99.5, 99.7, 98.7, 99.7)
    assert one(HAMMER, after_ordinary(hammer, count=10)) == (0.0, 0)
    assert one(HAMMER, after_ordinary(hammer, count=11))[1] == 1


@pytest.mark.parametrize(
    ("bar", "confidence"),
    [
        ((102.75, 103.0, 102.0, 103.0), 0.75),  # far above the low of the bar before: no matter
        ((102.65, 103.0, 102.0, 103.0), 0.0),  # lower shadow 0.65, body 0.35: not twice the body
        ((102.75, 103.0, 102.0, 102.875), 0.0),  # upper shadow 0.125 of the range
        ((102.75, 103.0, 102.0, 102.9375), 0.703125),  # upper shadow 0.0625: 0.75 x 0.9375
    ],
)
def test_ratios_measure_a_hammer_by_its_own_range(bar, confidence):
    assert one(HAMMER, after_ordinary(bar, count=11), rule="ratios")[0] == pytest.approx(confidence)


def test_ratios_of_a_hammer_are_parameters():
    bar = after_ordinary((102.6, 103.0, 102.0, 103.0), count=11)  # lower 0.6, body 0.4
    loose = {"min_lower_of_body": 1.25, "min_lower_of_range": 0.5, "max_body_of_range": 0.5}
    assert one(HAMMER, bar, rule="ratios") == (0.0, 0)
    assert one(HAMMER, bar, rule="ratios", **loose) == (pytest.approx(0.6), 1)


# -- the others ---------------------------------------------------------------------------------------------------


def test_engulfing_both_ends_is_worth_more_than_touching_one():
    black = (100.0, 100.6, 98.9, 99.0)
    assert one(KIND["EngulfingPattern"], [ORDINARY, black, (98.9, 100.3, 98.8, 100.2)]) == (0.7, 1)
    assert one(KIND["EngulfingPattern"], [ORDINARY, black, (99.0, 100.3, 98.8, 100.2)]) == (0.6, 1)


def test_bearish_pattern_has_direction_minus_one():
    white = (99.0, 100.6, 98.9, 100.0)
    assert one(KIND["EngulfingPattern"], [ORDINARY, white, (100.2, 100.3, 98.5, 98.6)]) == (0.7, -1)


@pytest.mark.parametrize("close", [100.01, 99.99])
def test_a_doji_and_a_spinning_top_are_neither_bullish_nor_bearish(close):
    doji, top = (100.0, 100.5, 99.5, close), (100.0, 100.6, 99.4, 100 + 10 * (close - 100))
    assert one(DOJI, after_ordinary(doji))[1] == one(DOJI, after_ordinary(doji), rule="ratios")[1] == 0
    assert one(KIND["LongLeggedDoji"], after_ordinary(doji)) == (0.7, 0)
    assert one(KIND["SpinningTop"], after_ordinary(top)) == (0.7, 0)


def test_confirmed_hikkake_is_worth_the_most_on_the_bar_that_confirms_it():
    start = [ORDINARY] * 4
    outside, inside, lower = (100, 102, 98, 101), (100, 101, 99, 100), (100, 100.9, 98.5, 99)
    hikkake = [*start, outside, inside, lower]
    assert one(KIND["HikkakePattern"], hikkake) == (0.7, 1)
    assert one(KIND["HikkakePattern"], [*hikkake, (99, 101.5, 98.8, 101.2)]) == (1.0, 1)


def test_penetration_decides_how_far_a_morning_star_must_rise():
    star = [(102.0, 102.1, 98.9, 99.0), (98.5, 98.6, 98.2, 98.4), (98.6, 100.6, 98.5, 100.5)]
    bars = after_ordinary(*star, count=11)  # the third close is half way into the first body
    assert one(KIND["MorningStar"], bars) == (0.7, 1)
    assert one(KIND["MorningStar"], bars, penetration=0.6) == (0.0, 0)


def test_all_candlesticks_of_talib_are_there_once():
    functions = ["CDLDOJI", "CDLHAMMER", *FUNCTIONS.values()]
    assert sorted(functions) == sorted(talib.get_function_groups()["Pattern Recognition"])
    assert len(KIND) == len(KINDS) == 61


def test_names_are_the_display_names_of_talib_without_blanks_hyphens_slashes_and_explanations():
    for name, function in FUNCTIONS.items():
        display = getattr(talib.abstract, function).info["display_name"]
        short = {"CDLKICKINGBYLENGTH": "Kicking By Length", "CDLTAKURI": "Takuri"}.get(function, display)
        assert name.lower() == short.translate(str.maketrans("", "", " -/")).lower()


def test_names_fit_into_the_application_column():
    assert max(len(name) for name in KIND) <= 50


def test_only_doji_and_hammer_are_on_by_default():
    assert [(kind.name, kind.threshold) for kind in KINDS if kind.enabled] == [("Doji", 0.5), ("Hammer", 0.6)]


@pytest.mark.parametrize(
    ("name", "bars"),
    [
        ("Doji", 1),
        ("Hammer", 1),
        ("EngulfingPattern", 3),
        ("HikkakePattern", 6),
        ("MorningStar", 13),
        ("MatHold", 15),
    ],
)
def test_least_bars_are_the_bar_and_what_the_rule_looks_back_on(name, bars):
    assert KIND[name].least_bars == bars


def test_documentation_lists_each_with_its_function_and_least_bars():
    functions = {"Doji": "CDLDOJI", "Hammer": "CDLHAMMER", **FUNCTIONS}
    text = (Path(__file__).parents[2] / "docs" / "candlesticks.md").read_text()
    listed = [line.split(" | ")[:3] for line in text.splitlines() if " | `CDL" in line]
    assert listed == [[f"| {kind.name}", f"`{functions[kind.name]}`", str(kind.least_bars)] for kind in KINDS]


# -- all ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_nothing_is_found_in_few_bars_or_none(kind):
    none = windows([], [ORDINARY], [ORDINARY] * (kind.least_bars - 1))
    assert not kind.find(none, kind.parameters).confidence.any()
    empty = Windows(*(column[:0] for column in none[:6]))
    assert kind.find(empty, kind.parameters).confidence.shape == (0,)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_confidence_lies_within_its_bounds_where_something_is_found_and_is_zero_elsewhere(kind):
    found = kind.find(random_windows(7), kind.parameters)
    here = found.confidence > 0
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
    assert (np.abs(found.direction) <= here).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spike", [0.0, 1e6])
@pytest.mark.parametrize(("kind", "function"), [(DOJI, "CDLDOJI"), (HAMMER, "CDLHAMMER")], ids=["Doji", "Hammer"])
def test_prefilter_drops_nothing_that_talib_finds(kind, function, seed, spike):
    """A spike leaves its rounding in TA-Lib's running totals for the rest of the window."""
    given = random_windows(seed, spike=spike)
    expected = asked_of_talib(function, given)
    assert expected.any(), seed
    assert ((kind.find(given, by_talib(kind)).confidence > 0) == (expected != 0)).all(), seed


@pytest.mark.parametrize(("spike", "excess"), [(0.0, 0.0), (1e9, 0.0), (1e9, 1e-10)])
def test_bodies_that_equal_the_limit_but_for_rounding_are_decided_as_by_talib(spike, excess):
    """Ten ranges of 20 cents and a body of 2: rounding decides, either way; the more, the greater the spike before."""
    given = random_windows(11, spike=spike)
    middle = np.round(10 + 0.07 * np.arange(ROWS), 2)[:, None]
    given.high[:, -11:] = np.round(middle + 0.1, 2)
    given.low[:, -11:] = np.round(middle - 0.1, 2)
    given.open[:, -11:] = given.close[:, -11:] = middle
    given.close[:, -1] = np.round(middle[:, 0] + 0.02, 2) + excess
    given.length[:] = np.maximum(given.length, 11)
    expected = asked_of_talib("CDLDOJI", given)
    assert 0 < np.count_nonzero(expected) < ROWS
    assert ((DOJI.find(given, by_talib(DOJI)).confidence > 0) == (expected != 0)).all()


@pytest.mark.parametrize("spike", [0.0, 1e9])
def test_hammers_that_are_near_but_for_rounding_are_decided_as_by_talib(spike):
    """Ranges of 50 cents, and a body that begins 10 cents above the low of the bar before: rounding decides."""
    given = random_windows(12, spike=spike)
    low = np.round(10 + 0.07 * np.arange(ROWS), 2)[:, None]
    given.low[:, -12:] = low
    given.high[:, -12:] = np.round(low + 0.5, 2)
    given.open[:, -12:] = np.round(low + 0.1, 2)
    given.close[:, -12:] = np.round(low + 0.4, 2)
    given.close[:, -1] = given.high[:, -1] = np.round(low[:, 0] + 0.11, 2)
    given.length[:] = np.maximum(given.length, 12)
    expected = asked_of_talib("CDLHAMMER", given)
    assert 0 < np.count_nonzero(expected) < ROWS
    assert (HAMMER.find(given, by_talib(HAMMER)).direction == np.sign(expected)).all()


def test_talib_is_asked_about_few_bars_that_it_does_not_find(monkeypatch):
    given, asked = random_windows(3), []

    def counted(*prices):
        asked.append(prices)
        return talib.CDLHAMMER(*prices)

    hammer = type("Counted", (), {"CDLHAMMER": staticmethod(counted)})
    monkeypatch.setattr(candlesticks, "talib", hammer)
    found = HAMMER.find(given, by_talib(HAMMER))
    assert len(asked) <= (found.confidence > 0).sum() + 0.05 * ROWS


@pytest.mark.parametrize("kind", [DOJI, HAMMER, KIND["HaramiPattern"]], ids=lambda kind: kind.name)
@pytest.mark.parametrize("rule", ["talib", "ratios"])
def test_a_window_gives_the_same_bits_alone_among_others_and_in_any_memory_layout(kind, rule):
    given = random_windows(5)
    parameters = {**kind.parameters, "min_move": 0.0, "rule": rule} if "rule" in kind.parameters else kind.parameters
    together = kind.find(given, parameters)
    columns = kind.find(Windows(*(np.asfortranarray(column) for column in given[:6])), parameters)
    assert together.confidence.any()
    assert np.array_equal(together.confidence, columns.confidence)
    for row in range(ROWS):
        alone = kind.find(Windows(*(column[row : row + 1].copy() for column in given[:6])), parameters)
        assert (alone.confidence.item(), alone.direction.item()) == (
            together.confidence[row].item(),
            together.direction[row].item(),
        )


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("Doji", {"rule": "mine"}),
        ("Doji", {"max_body_of_range": 1.5}),
        ("Doji", {"min_range": -1.0}),
        ("Hammer", {"rule": 1.0}),
        ("Hammer", {"min_lower_of_body": "wide"}),
        ("MorningStar", {"penetration": -0.1}),
        ("MorningStar", {"min_ticks": -1.0}),
        ("Doji", {"min_atr": 101.0}),
        ("Hammer", {"min_move": "far"}),
        ("ShootingStar", {"min_move": -1.0}),
    ],
)
def test_wrong_parameter_is_named(name, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        KIND[name].find(windows(), {**KIND[name].parameters, **wrong})
