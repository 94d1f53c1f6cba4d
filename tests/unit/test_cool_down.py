"""One event within a cool-down: told by the bars of one window alone."""

import math

import numpy as np
import pytest
from tickstockpl.workers.detect.definitions import pattern_definition
from tickstockpl.workers.detect.patterns.cool_down import bars_since, columns_for, cool_down_of, found_before
from tickstockpl.workers.detect.patterns.kind import Found, PatternKind
from tickstockpl.workers.detect.patterns.registry import PATTERNS
from tickstockpl.workers.windows import WINDOW, Windows

WIDTH = 40


def find_drawn(windows, parameters):
    """Find what the volume says: its confidence in hundredths; direction by the bar, level: its high."""
    del parameters
    volume = np.nan_to_num(windows.volume[:, -1])
    direction = np.sign(windows.close[:, -1] - windows.open[:, -1])
    return Found(volume / 100, np.nan_to_num(direction).astype(np.int8), windows.high[:, -1:])


def drawn(same_level=0.25):
    return PatternKind("Drawn", "", 2, 2, 0.5, True, {"cool_down": 10.0}, find_drawn, same_level=same_level)


def since(marks, *, bars=WIDTH, cool_down=10.0, same_level=0.25, least=0.5):
    """Return bars_since of the last bar. marks: {bars before the last: (confidence in hundredths, change, level)}.

    Every other bar trades between 99.50 and 100.50: an ATR of $1.
    """
    columns = np.full((5, 1, WIDTH), np.nan)
    columns[:, 0, WIDTH - bars :] = np.array([[100.0, 100.5, 99.5, 100.0, 0.0]] * bars).T
    for back, (confidence, change, level) in marks.items():
        at = WIDTH - 1 - back
        columns[:, 0, at] = [100.0, level, 99.5, 100.0 + change, confidence]
    windows = Windows(*columns, np.array([bars]))
    kind, parameters = drawn(same_level), {"cool_down": cool_down}
    there = kind.find(windows.last(kind.depth), parameters)
    return bars_since(found_before(windows, np.array([0]), kind, parameters, least, there)).tolist()[0]


UP, DOWN = (80, 0.2, 100.5), (80, -0.2, 100.5)


@pytest.mark.parametrize(
    ("marks", "after"),
    [
        ({0: UP}, 0),
        ({0: UP, 1: UP}, 1),
        ({0: UP, 10: UP}, 10),
        ({0: UP, 11: UP}, 0),
        ({0: UP, 8: UP, 16: UP}, 8),
        ({0: UP, 3: DOWN}, 0),
        ({0: UP, 3: DOWN, 7: UP}, 7),
        ({0: UP, 4: (49, 0.2, 100.5)}, 0),
        ({0: UP, 4: (50, 0.2, 100.5)}, 4),
    ],
    ids=[
        "new", "the bar before", "ten bars before", "eleven", "a repeat of a repeat", "the other direction",
        "the other one between", "below the threshold", "at the threshold",
    ],
)  # fmt: skip
def test_the_same_within_ten_bars_is_the_same_event(marks, after):
    assert since(marks) == after


def test_another_level_is_another_event():
    # ATR is the mean of 14 true ranges: 13 of $1.00, and one of $1.00 + what the marked bar's high has more.
    assert since({0: UP, 4: (80, 0.2, 100.75)}) == 4
    assert since({0: UP, 4: (80, 0.2, 100.78)}) == 0
    assert since({0: UP, 4: (80, 0.2, 100.78)}, same_level=math.inf) == 4


def test_the_cool_down_is_a_parameter_and_may_be_off():
    marks = {0: UP, 4: UP}
    assert [since(marks, cool_down=bars) for bars in (0.0, 3.0, 4.0, 20.0)] == [0, 0, 4, 4]


def test_a_bar_on_which_nothing_was_found_is_no_event_though_the_threshold_is_zero():
    assert since({0: (80, 0.0, 100.5)}, least=0.0) == 0
    assert since({0: (80, 0.0, 100.5), 4: (1, 0.0, 100.5)}, least=0.0) == 4


@pytest.mark.parametrize("bars", [1, 2, 3, 5])
def test_the_first_bars_of_all_have_fewer_before_them(bars):
    marks = dict.fromkeys(range(bars), UP)
    assert since(marks, bars=bars) == (1 if bars > 1 else 0)


@pytest.mark.parametrize("wrong", [-1.0, 101.0, 2.5, "long", math.nan])
def test_a_wrong_cool_down_is_named(wrong):
    with pytest.raises(ValueError, match="cool_down"):
        cool_down_of({"cool_down": wrong})


def test_a_definition_row_says_the_cool_down_of_any_pattern():
    for name in PATTERNS:
        assert pattern_definition(name, None, None, None).parameters["cool_down"] == 10.0
        assert pattern_definition(name, None, None, {"cool_down": 0}).parameters["cool_down"] == 0
        with pytest.raises(ValueError, match="cool_down: 1000 is not between 0 and 100"):
            pattern_definition(name, None, None, {"cool_down": 1000})


@pytest.mark.parametrize("kind", PATTERNS.values(), ids=lambda kind: kind.name)
def test_the_longest_cool_down_lies_within_a_window(kind):
    assert columns_for(kind, {"cool_down": 100.0}) <= WINDOW


def walk(seed, bars):
    """Make a walk in whole cents, with volumes that jump."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_t(3, (bars, 8)) * 0.02
    price = np.round(50 + np.cumsum(steps.ravel()).reshape(bars, 8), 2)
    volume = np.round(rng.lognormal(8, 0.9, bars))
    return np.array([price[:, 0], price.max(axis=1), price.min(axis=1), price[:, -1], volume])


ANY = {"min_ticks": 0.0, "min_atr": 0.0, "min_move": 0.0}
LOOSE = {
    "Doji": ANY,
    "Hammer": ANY,
    "HaramiPattern": {"min_ticks": 0.0, "min_atr": 0.0},
    "Volume_Spike": {"deviations": 2.0, "ratio": 1.5},
    "Price_Breakout": {"volume_ratio": 0.5},
}


@pytest.mark.parametrize("name", LOOSE)
def test_what_a_window_says_of_the_bars_before_is_what_was_found_on_them(name):
    """The bars are looked at one by one, each in its own window, and the last that was like it is sought backwards."""
    kind, seed = PATTERNS[name], 20_101
    parameters = {**kind.parameters, **LOOSE[name]}
    padded = np.pad(walk(seed, 1500), ((0, 0), (WINDOW - 1, 0)), constant_values=np.nan)
    columns = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=1)
    windows = Windows(*columns, np.minimum(np.arange(1500) + 1, WINDOW))
    there = kind.find(windows.last(kind.depth), parameters)
    rows = np.flatnonzero(there.confidence > 0)
    expected = []
    for row in rows.tolist():
        before = [b for b in rows.tolist() if row - 10 <= b < row and there.direction[b] == there.direction[row]]
        expected.append(row - before[-1] if before else 0)
    assert bars_since(found_before(windows, rows, kind, parameters, 1e-9, there)).tolist() == expected, seed
    assert len(expected) > 20
    assert 0 < np.count_nonzero(expected) < len(expected)
