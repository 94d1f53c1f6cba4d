import numpy as np
import pytest
from tickstockpl.workers.marks import (
    AFFECTED,
    INDICATORS,
    MARK_DTYPE,
    NEW,
    NEW_REDETECT,
    NO_MARKS,
    PATTERNS,
    REVISED,
    higher_marks,
    joined,
    marks_of,
)


def marks(*rows):
    """rows: (symbol, timeframe, minute, kind, stage, publish)."""
    return np.array(list(rows), MARK_DTYPE)


def test_new_marks_wait_for_patterns():
    made = marks_of(np.array([3, 4]), np.array([10, 20]), NEW, publish=np.array([True, False]))
    assert made.tolist() == [(3, 1, 10, NEW, PATTERNS, True), (4, 1, 20, NEW, PATTERNS, False)]


def test_joined_marks_are_sorted_by_symbol_timeframe_and_minute():
    rows = [(1, 1, 5, NEW, PATTERNS, True), (0, 5, 0, NEW, PATTERNS, True), (0, 1, 9, NEW, PATTERNS, True),
            (0, 1, 2, NEW, PATTERNS, True)]  # fmt: skip
    assert joined([marks(*rows[:2]), marks(*rows[2:])]).tolist() == [rows[3], rows[2], rows[1], rows[0]]


def test_of_two_marks_of_one_bar_the_stronger_kind_stays():
    hanging, revised, new = ((0, 1, 5, kind, PATTERNS, True) for kind in (AFFECTED, REVISED, NEW))
    assert joined([marks(hanging), marks(revised)]).tolist() == [revised]
    assert joined([marks(revised), marks(new), marks(hanging)]).tolist() == [new]


@pytest.mark.parametrize("kind", [REVISED, AFFECTED])
def test_a_new_bar_that_waits_for_patterns_again_stays_new_and_waits_for_indicators_after_them(kind):
    waiting, again = (0, 1, 5, NEW, INDICATORS, True), (0, 1, 5, kind, PATTERNS, True)
    expected = [(0, 1, 5, NEW_REDETECT, PATTERNS, True)]
    assert joined([marks(waiting), marks(again)]).tolist() == expected
    assert joined([marks(again), marks(waiting)]).tolist() == expected


def test_a_bar_that_was_new_again_is_so_until_its_indicators_are_computed():
    waiting, again = (0, 1, 5, NEW_REDETECT, INDICATORS, True), (0, 1, 5, AFFECTED, PATTERNS, True)
    assert joined([marks(waiting), marks(again)]).tolist() == [(0, 1, 5, NEW_REDETECT, PATTERNS, True)]


def test_a_new_bar_without_patterns_yet_stays_new():
    waiting, again = (0, 1, 5, NEW, PATTERNS, True), (0, 1, 5, REVISED, PATTERNS, True)
    assert joined([marks(waiting), marks(again)]).tolist() == [waiting]


def test_a_revised_bar_that_hangs_on_another_stays_revised():
    waiting, again = (0, 1, 5, REVISED, INDICATORS, True), (0, 1, 5, AFFECTED, PATTERNS, True)
    assert joined([marks(waiting), marks(again)]).tolist() == [(0, 1, 5, REVISED, PATTERNS, True)]


def test_a_bar_is_told_where_one_of_its_marks_is():
    silent, told = (0, 1, 5, NEW, PATTERNS, False), (0, 1, 5, AFFECTED, PATTERNS, True)
    assert joined([marks(silent), marks(told)]).tolist() == [(0, 1, 5, NEW, PATTERNS, True)]
    assert joined([marks(silent)]).tolist() == [silent]


def test_one_minute_of_two_timeframes_is_two_bars():
    rows = [(0, 1, 5, NEW, PATTERNS, True), (0, 5, 5, NEW, PATTERNS, True)]
    assert joined([marks(*rows)]).tolist() == rows


def test_no_marks_joined_are_none():
    assert joined([]).tolist() == joined([NO_MARKS, NO_MARKS]).tolist() == []


def test_a_minute_marks_the_higher_bars_that_it_is_in():
    found = higher_marks(marks((2, 1, 125, NEW, PATTERNS, True)))
    assert found.tolist() == [
        (2, timeframe, start, NEW, PATTERNS, True) for timeframe, start in ((5, 125), (15, 120), (30, 120), (60, 120))
    ]


def test_minutes_of_one_higher_bar_mark_it_once():
    found = higher_marks(marks(*((2, 1, minute, NEW, PATTERNS, True) for minute in range(120, 126))))
    assert found[["timeframe", "minute"]].tolist() == [(5, 120), (5, 125), (15, 120), (30, 120), (60, 120)]
