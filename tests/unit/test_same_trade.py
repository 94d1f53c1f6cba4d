"""The same trade that comes again is marked, by its name and never by its content."""

import random

import numpy as np
import pytest
from tickstockpl.contracts.spellings.same_trade import SameTrades
from tickstockpl.contracts.spellings.trade_key import facility_of, trade_key
from tickstockpl.contracts.ticks import REPEATED, SETS_ALL, SETS_VOLUME, Ticks

SECOND = 10**9
NOON = 1_748_872_800 * SECOND


def ticks_of(*rows: tuple[object, ...], flags: list[int] | None = None, undoes: list[int] | None = None) -> Ticks:
    """Make ticks of (symbol, second, exchange, trade id[, facility])."""
    symbols = sorted({str(row[0]) for row in rows})
    optional = {
        "trade_key": np.array([trade_key(row[2], row[3]) if row[3] else 0 for row in rows], "<i8"),
        "facility": np.array([facility_of(row[4]) if len(row) > 4 else 0 for row in rows], "<u4"),
    }
    optional |= {"flags": np.array(flags, "<u1")} if flags else {}
    optional |= {"undoes": np.array(undoes, "<u1")} if undoes else {}
    return Ticks(
        symbols,
        np.array([symbols.index(str(row[0])) for row in rows], "<i4"),
        np.array([NOON + int(float(str(row[1])) * SECOND) for row in rows], "<i8"),
        np.full(len(rows), 281.1),
        np.full(len(rows), 2.0),
        optional,
    )


def marked(same: SameTrades, ticks: Ticks) -> list[bool]:
    flags = same.mark(ticks).optional.get("flags")
    return [False] * len(ticks) if flags is None else (flags == REPEATED).tolist()


A = ("A", 0, "4", "11", "201")


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        (A, True),
        (("A", 60, "4", "11", "201"), True),
        (("A", -60, "4", "11", "201"), True),
        (("A", 60.001, "4", "11", "201"), False),
        (("A", 86_400, "4", "11", "201"), False),
        (("B", 0, "4", "11", "201"), False),
        (("A", 0, "11", "11", "201"), False),
        (("A", 0, "4", "12", "201"), False),
        (("A", 0, "4", "11", "202"), False),
        (("A", 0, "4", "11", "FINRA"), False),
        (("A", 0, "4", "11"), False),
        (("A", 0, 4, "11", 201), True),
    ],
)
@pytest.mark.parametrize("together", [False, True])
def test_a_trade_is_the_same_by_symbol_exchange_id_and_facility_within_a_minute(
    other: tuple[object, ...], is_same: bool, together: bool
) -> None:
    same = SameTrades()
    if together:
        assert marked(same, ticks_of(A, other)) == [False, is_same]
    else:
        assert marked(same, ticks_of(A)) == [False]
        assert marked(same, ticks_of(other)) == [is_same]
    assert same.repeated == is_same


@pytest.mark.parametrize(("exchange", "trade_id"), [("4", "0"), ("4", ""), ("", "0"), ("XNAS", "0"), ("XNAS", "000")])
def test_no_id_and_an_id_of_zero_name_no_trade(exchange: str, trade_id: str) -> None:
    row = ("A", 0, exchange, trade_id)
    assert marked(SameTrades(), ticks_of(row, row, row)) == [False] * 3


@pytest.mark.parametrize("trade_id", ["abc", "9" * 19, "9" * 30, "7a-7b", "71675577320245.5"])
def test_a_text_is_an_id_as_a_number_is(trade_id: str) -> None:
    one, other = ("A", 0, "XNAS", trade_id), ("A", 0, "XNAS", trade_id + "x")
    assert marked(SameTrades(), ticks_of(one, other, one, other)) == [False, False, True, True]


def test_an_id_that_comes_again_and_again_is_told_by_the_one_before() -> None:
    rows = [("A", second, "4", "11") for second in (0, 50, 100, 161, 200)]
    assert marked(SameTrades(), ticks_of(*rows)) == [False, True, True, False, True]


def test_what_sets_less_keeps_its_flags_and_a_repeat_loses_them() -> None:
    ticks = ticks_of(A, ("B", 0, "4", "11"), A, flags=[SETS_VOLUME, SETS_ALL, SETS_VOLUME])
    assert SameTrades().mark(ticks).optional["flags"].tolist() == [SETS_VOLUME, SETS_ALL, REPEATED]
    assert ticks.optional["flags"].tolist() == [SETS_VOLUME, SETS_ALL, SETS_VOLUME]


def test_a_batch_without_repeats_or_without_ids_is_left_as_it_is() -> None:
    for ticks in (ticks_of(A, ("A", 0, "4", "12")), Ticks.empty(), ticks_of(("A", 0, "4", "")).take(slice(0))):
        assert SameTrades().mark(ticks) is ticks


def test_a_cancel_and_a_quote_are_no_repeats_of_their_trade() -> None:
    same = SameTrades()
    assert marked(same, ticks_of(A, A, undoes=[0, 1])) == [False, False]
    zero = ticks_of(("A", 0, "4", "12"))
    zero.size[:] = 0
    assert marked(same, zero) == [False]
    assert marked(same, ticks_of(("A", 0, "4", "12"))) == [False]


def test_what_may_not_count_is_not_remembered() -> None:
    same = SameTrades()
    refused = same.mark(ticks_of(A), may_count=lambda: np.array([False]))
    assert refused.optional.get("flags") is None
    assert marked(same, ticks_of(A)) == [False]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("most", [50, 2_000_000])
def test_a_market_in_batches_of_any_size_has_the_repeats_that_a_dictionary_finds(seed: int, most: int) -> None:
    chance = random.Random(seed)
    rows, last, expected = [], {}, []
    for i in range(6_000):
        second = i / 20 - chance.choice((0, 0, 0, 2))
        row = (chance.choice("AB"), second, "4", str(chance.randrange(1, 4_000)), chance.choice(("0", "201")))
        name = (row[0], *row[2:])
        at_ns = NOON + int(second * SECOND)
        expected.append(name in last and abs(at_ns - last[name]) <= 60 * SECOND)
        last[name] = at_ns
        rows.append(row)
    same, found, first = SameTrades(most=most), [], 0
    while first < len(rows):
        size = chance.choice((1, 3, 400, 1_500))
        found += marked(same, ticks_of(*rows[first : first + size]))
        first += size
    if most == 50:  # so few remember less, and never call another trade the same
        assert all(e for f, e in zip(found, expected, strict=True) if f)
    else:
        assert found == expected


def test_the_memory_is_bounded_whatever_the_times() -> None:
    same = SameTrades(most=1_000)
    for batch in range(50):  # grouped by ticker: each begins in the morning again
        symbol = f"S{batch}"
        same.mark(ticks_of(*[(symbol, i, "4", str(i + 1)) for i in range(200)]))
    assert same._now.used + same._before.used <= 2 * (1_000 + 200)
    assert len(same._now._hashes) <= 1 << 12
