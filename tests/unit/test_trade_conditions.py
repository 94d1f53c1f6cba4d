"""Which fields of its bar a trade may set, by its conditions."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from tickstockpl.contracts.spellings.trade_conditions import (
    conditions_of_json,
    conditions_of_text,
    flags_column,
    flags_of,
    is_extended_hours,
    is_form_t,
    unknown_of,
)

# Written by hand from the published lists: high and low, open and close, volume (T: sets it, F: does not).
TABLE = {
    0: "TTT",
    1: "TTT",
    2: "FFT",
    3: "TTT",
    4: "TTT",
    5: "TFT",
    6: "TTT",
    7: "FFT",
    8: "TTT",
    9: "TTT",
    10: "TFT",
    11: "TTT",
    12: "FFT",
    13: "FFT",
    14: "TTT",
    15: "FFF",
    16: "FFF",
    17: "TTT",
    18: "TTT",
    19: "TTT",
    20: "FFT",
    21: "FFT",
    22: "TFT",
    23: "TTT",
    24: "TTT",
    25: "TTT",
    27: "TTT",
    28: "TTT",
    29: "FFT",
    30: "TTT",
    31: "TTT",
    32: "TFT",
    33: "TFT",
    34: "TTT",
    35: "TTT",
    36: "TTT",
    37: "FFT",
    38: "FFF",
    41: "TTT",
    52: "FFT",
    53: "FFT",
    55: "TTT",
    57: "TTT",
    58: "TTT",
    59: "TTT",
    60: "TTT",
    62: "TTT",
    63: "TTT",
    64: "TTT",
    65: "TTT",
    66: "TTT",
    67: "TTT",
    68: "TTT",
    69: "TTT",
    70: "TTT",
    71: "TTT",
}


def letters(flags: int) -> str:
    """Spell flags as the table does; the bits are those of the frames: open and close 1, high and low 2, volume 4."""
    return "".join("T" if flags & bit else "F" for bit in (2, 1, 4))


def new_york(text: str) -> int:
    """Return the Unix nanoseconds of a local time in New York."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("America/New_York")).timestamp()) * 1_000_000_000


@pytest.mark.parametrize(("condition", "sets"), TABLE.items())
def test_each_listed_condition_sets_what_the_list_says(condition: int, sets: str) -> None:
    assert letters(flags_of((condition,))) == sets
    assert unknown_of([(condition,)]) == set()


@pytest.mark.parametrize("condition", [26, 39, 40, 42, 51, 54, 56, 61, 72, 999, -1, "4a00", "@"])
def test_an_unknown_condition_sets_volume_only_and_is_named(condition: int | str) -> None:
    assert letters(flags_of((condition,))) == "FFT"
    assert letters(flags_of((14, condition, 41))) == "FFT"
    assert unknown_of([(14, condition), (condition, 12)]) == {condition}


@pytest.mark.parametrize(
    ("conditions", "sets"),
    [
        ((), "TTT"),
        ((14, 41), "TTT"),
        ((14, 37, 41), "FFT"),
        ((53, 52, 41), "FFT"),
        ((10, 41), "TFT"),
        ((22, 37), "FFT"),
        ((38, 37), "FFF"),
        ((38, 10), "FFF"),
        ((15, 8), "FFF"),
        ((41, 60), "TTT"),
    ],
)
def test_every_condition_of_a_trade_must_allow(conditions: tuple[int, ...], sets: str) -> None:
    assert letters(flags_of(conditions)) == sets
    assert letters(flags_of(conditions[::-1])) == sets


@pytest.mark.parametrize(
    ("at", "sets"),
    [
        ("2026-07-15 03:59:59", "FFT"),
        ("2026-07-15 04:00:00", "TTT"),
        ("2026-07-15 09:29:59", "TTT"),
        ("2026-07-15 09:30:00", "FFT"),
        ("2026-07-15 12:00:00", "FFT"),
        ("2026-07-15 15:59:59", "FFT"),
        ("2026-07-15 16:00:00", "TTT"),
        ("2026-07-15 19:59:59", "TTT"),
        ("2026-07-15 20:00:00", "FFT"),
        # winter time
        ("2026-01-15 03:59:59", "FFT"),
        ("2026-01-15 04:00:00", "TTT"),
        ("2026-01-15 09:30:00", "FFT"),
        ("2026-01-15 16:00:00", "TTT"),
        ("2026-01-15 20:00:00", "FFT"),
        # the Fridays before and the Mondays after the clocks changed
        ("2026-03-06 04:00:00", "TTT"),
        ("2026-03-06 03:59:59", "FFT"),
        ("2026-03-09 04:00:00", "TTT"),
        ("2026-03-09 03:59:59", "FFT"),
        ("2026-10-30 16:00:00", "TTT"),
        ("2026-10-30 15:59:59", "FFT"),
        ("2026-11-02 16:00:00", "TTT"),
        ("2026-11-02 15:59:59", "FFT"),
        # half days: the market closes at 13:00, the late sessions at 17:00
        ("2026-11-27 09:29:59", "TTT"),
        ("2026-11-27 09:30:00", "FFT"),
        ("2026-11-27 12:59:59", "FFT"),
        ("2026-11-27 13:00:00", "TTT"),
        ("2026-11-27 15:59:59", "TTT"),
        ("2026-11-27 16:59:59", "TTT"),
        ("2026-11-27 17:00:00", "FFT"),
        ("2025-07-03 13:00:00", "TTT"),
        ("2026-07-02 13:00:00", "FFT"),
        # nights: none before the one of Monday, 2026-12-07, which begins on the Sunday
        ("2026-12-03 21:00:00", "FFT"),
        ("2026-12-04 03:59:59", "FFT"),
        ("2026-12-06 20:59:59", "FFT"),
        ("2026-12-06 21:00:00", "TTT"),
        ("2026-12-07 00:00:00", "TTT"),
        ("2026-12-07 03:59:59", "TTT"),
        ("2026-12-07 12:00:00", "FFT"),
        ("2026-12-07 19:59:59", "TTT"),
        ("2026-12-07 20:00:00", "FFT"),  # the pause
        ("2026-12-07 21:00:00", "TTT"),
        ("2026-12-11 21:00:00", "FFT"),  # a Friday: nobody trades on Saturday
        ("2026-12-12 02:00:00", "FFT"),
        ("2026-12-24 17:00:00", "FFT"),  # a half day, and no night before Christmas
        ("2026-12-24 21:00:00", "FFT"),
        ("2026-12-27 22:00:00", "TTT"),
        # the clocks change while nobody trades: 2027-03-14, a Sunday at 02:00
        ("2027-03-14 21:00:00", "TTT"),
        ("2027-03-15 03:59:59", "TTT"),
    ],
)
def test_a_form_t_trade_sets_prices_in_extended_hours_only(at: str, sets: str) -> None:
    ts = new_york(at)
    assert letters(flags_of((12,), ts)) == sets
    assert letters(int(flags_column(np.array([0]), [(12,)], np.array([ts]))[0])) == sets


@pytest.mark.parametrize(
    ("utc", "extended"),
    [
        ("2026-07-15T07:59:59", False),  # 03:59:59 EDT
        ("2026-07-15T08:00:00", True),
        ("2026-07-15T13:30:00", False),
        ("2026-07-15T20:00:00", True),
        ("2026-07-16T00:00:00", False),
        ("2026-01-15T08:59:59", False),  # 03:59:59 EST
        ("2026-01-15T09:00:00", True),
        ("2026-01-15T14:30:00", False),
        ("2026-01-15T21:00:00", True),
        ("2026-01-16T01:00:00", False),
    ],
)
def test_new_york_is_four_hours_behind_in_summer_and_five_in_winter(utc: str, *, extended: bool) -> None:
    ts = np.datetime64(utc, "ns").astype("<i8")
    assert is_extended_hours(np.array([ts])).tolist() == [extended]


@pytest.mark.parametrize(
    ("conditions", "sets"),
    [
        ((12, 37), "FFT"),
        ((12, 10), "TFT"),
        ((12, 14, 41), "TTT"),
        ((12, 999), "FFT"),
        ((13,), "FFT"),
        ((12, 13), "FFT"),
    ],
)
def test_another_condition_may_forbid_what_form_t_allows(conditions: tuple[int, ...], sets: str) -> None:
    assert letters(flags_of(conditions, new_york("2026-07-15 08:00:00"))) == sets


def test_only_form_t_depends_on_the_time_of_day() -> None:
    assert is_form_t((14, 12))
    assert not is_form_t((14, 13))
    assert letters(flags_of((14,), new_york("2026-07-15 08:00:00"))) == "TTT"
    assert letters(flags_of((37,), new_york("2026-07-15 08:00:00"))) == "FFT"


def test_the_hours_of_each_day_part_a_column_of_form_t_trades() -> None:
    at = ("2026-11-25 13:00:00", "2026-11-27 12:59:00", "2026-11-27 13:00:00", "2026-11-30 13:00:00")
    assert is_extended_hours(np.array([new_york(text) for text in at])).tolist() == [False, False, True, False]


def test_a_column_of_trades_has_the_flags_of_each() -> None:
    combinations: list[tuple[int, ...]] = [(), (12,), (12, 37), (15,), (999,)]
    early, noon, late = (new_york(f"2026-07-15 {at}") for at in ("08:00:00", "12:00:00", "18:00:00"))
    codes = np.array([0, 1, 1, 1, 2, 3, 4, 0])
    ts = np.array([early, early, noon, late, early, noon, noon, late])
    flags = flags_column(codes, combinations, ts)
    assert [letters(each) for each in flags.tolist()] == ["TTT", "TTT", "FFT", "TTT", "FFT", "FFF", "FFT", "TTT"]
    assert flags.dtype == np.dtype("<u1")


def test_no_trades_have_no_flags() -> None:
    assert flags_column(np.empty(0, "<i4"), [], np.empty(0, "<i8")).tolist() == []
    assert flags_column(np.empty(0, "<i4"), [(12,)], np.empty(0, "<i8")).tolist() == []


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("", ()),
        ("12", (12,)),
        ("12,37", (12, 37)),
        (" 12, 37 ", (12, 37)),
        ("4a00", ("4a00",)),
        ("12,@", (12, "@")),
        ("14.0", (14,)),
        ("12.0,37.0", (12, 37)),
        ("1.5", ("1.5",)),
        (".0", (".0",)),
    ],
)
def test_conditions_of_a_flat_file_are_numbers_with_commas_between(text: str, conditions: tuple[object, ...]) -> None:
    assert conditions_of_text(text) == conditions


@pytest.mark.parametrize(
    ("value", "conditions"),
    [
        (None, ()),
        ([], ()),
        ([14, 41], (14, 41)),
        ([1.5], ("1.5",)),
        (12, ("12",)),
        ([[1]], ("[1]",)),
        ([14.0], (14,)),
        (["14", " 41.0"], (14, 41)),
        (["@"], ("@",)),
        ([True], ("True",)),
        ("14.0", (14,)),
    ],
)
def test_conditions_in_json_are_an_array_of_numbers(value: object, conditions: tuple[object, ...]) -> None:
    assert conditions_of_json(value) == conditions
