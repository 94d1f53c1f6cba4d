"""Which fields of its bar a trade may set, by its conditions: the consolidated update rules. Pure.

Table 2026-10, of Massive's numbers: update_rules.consolidated of GET /v3/reference/conditions?asset_class=stocks&
data_type=trade, as copies of it in public code had it by October 2026, and for 0 Massive's glossary of conditions.
Compared with the matrices of sale conditions in the CTS Pillar Output Specification (ctaplan.com) and the UTP Binary
Output Specification (utpplan.com). Where these let a late trade set "last" only if it is the day's first or only one
(codes 5, 10, 22, 32, 33), Massive sets no price, and so do we. Older lists let 29 set high and low: today neither plan
does. In that list 38 sets prices of the day, but of no minute bar, as in Alpaca's table of minute bars.

Two lines are uncertain, because public sources differ; one live answer would decide: 17  sets all in a copy of the
reference in Markdown (2025), and here; a copy in C++ has "updates open and close: no". If
    that is right, the open of 09:30 is not the opening auction of NYSE or Arca. 22  sets high, low and volume in every
    copy of the reference, and here; but people who rebuilt Massive's minute and daily
    files got the right volumes without it (AAPL on 2022-01-03: by 2,079,610 shares).
"""

from collections.abc import Hashable, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..market_hours import day_of, hours_if_open, is_night
from ..ticks import OPTIONAL_COLUMNS, SETS_ALL, SETS_HIGH_LOW, SETS_VOLUME, Column

TABLE_VERSION = "2026-10"
FORM_T = 12  # traded outside the regular hours

TRADE_RULES = Literal["sip", "all"]  # sip: by the table below; all: every trade sets every field
DEFAULT_RULES: TRADE_RULES = "sip"  # for every source; a trade without conditions is a regular sale

# A condition that is not a number is unknown, like an unlisted number.
Conditions = tuple[Hashable, ...]

_FLAGS = np.dtype(OPTIONAL_COLUMNS["flags"])

_SETS_ALL = {
    0: "Regular Sale",
    1: "Acquisition",
    3: "Automatic Execution",
    4: "Bunched Trade",
    6: "CAP Election",
    8: "Closing Prints",
    9: "Cross Trade",
    11: "Distribution",
    14: "Intermarket Sweep",
    17: "Market Center Opening Trade",
    18: "Market Center Reopening Trade",
    19: "Market Center Closing Trade",
    23: "Rule 155 (AMEX)",
    24: "Rule 127 (NYSE)",
    25: "Opening Prints",
    27: "Stopped Stock",
    28: "Re-Opening Prints",
    30: "Sold Last",
    31: "Sold Last and Stopped Stock",
    34: "Split Trade",
    35: "Stock Option",
    36: "Yellow Flag Regular Trade",
    41: "Trade Through Exempt",
    55: "Opening or Reopening Trade Detail",
    # These describe the security, not the trade: they have no update rules, so they forbid nothing.
    57: "Short Sale Restriction Activated",
    58: "Short Sale Restriction Continued",
    59: "Short Sale Restriction Deactivated",
    60: "Short Sale Restriction In Effect",
    62: "Bankrupt",
    63: "Deficient",
    64: "Delinquent",
    65: "Bankrupt and Deficient",
    66: "Bankrupt and Delinquent",
    67: "Deficient and Delinquent",
    68: "Deficient, Delinquent and Bankrupt",
    69: "Liquidation",
    70: "Creations Suspended",
    71: "Redemptions Suspended",
}
_SETS_HIGH_LOW_AND_VOLUME = {
    5: "Bunched Sold",
    10: "Derivatively Priced",
    22: "Prior Reference Price",
    32: "Sold (Out of Sequence)",
    33: "Sold (Out of Sequence) and Stopped Stock",
}
_SETS_VOLUME = {
    2: "Average Price",
    7: "Cash Sale",
    13: "Extended Hours Sold (Out of Sequence)",
    20: "Next Day",
    21: "Price Variation",
    29: "Seller",
    37: "Odd Lot",  # only this condition counts, never the size: the size of a round lot depends on the price
    52: "Contingent Trade",
    53: "Qualified Contingent Trade",
}
_SETS_NOTHING = {
    15: "Market Center Official Close",
    16: "Market Center Official Open",
    38: "Corrected Consolidated Close",  # a price of the day that is corrected later, not a trade of its minute
}

_SETS: dict[Hashable, int] = {
    **dict.fromkeys(_SETS_ALL, SETS_ALL),
    **dict.fromkeys(_SETS_HIGH_LOW_AND_VOLUME, SETS_HIGH_LOW | SETS_VOLUME),
    **dict.fromkeys(_SETS_VOLUME, SETS_VOLUME),
    **dict.fromkeys(_SETS_NOTHING, 0),
}

_HALF_HOUR_NS = 1_800_000_000_000  # sessions begin and end on half hours, and New York is whole hours from UTC


def flags_of(conditions: Conditions, ts: int | None = None) -> int:
    """Return the bits of ticks.flags that all conditions of a trade allow; without conditions: a regular sale.

    ts: Unix nanoseconds; None means regular hours. An unknown condition allows volume only, to be safe.
    """
    return _flags(conditions, ts is not None and is_form_t(conditions) and _is_extended(ts // _HALF_HOUR_NS))


@lru_cache(maxsize=4096)
def _flags(conditions: Conditions, extended_hours: bool) -> int:
    """Return the flags, in or outside the extended hours: only there a Form T trade sets prices.

    Massive's minute bars do the same (knowledge base, "Does a Form T trade update a pre-market minute bar's high, low,
    open and close?"). The night session is part of these hours (market_hours.night_of).
    """
    flags = SETS_ALL
    for condition in conditions:
        if condition == FORM_T:
            flags &= SETS_ALL if extended_hours else SETS_VOLUME
        else:
            flags &= _SETS.get(condition, SETS_VOLUME)
    return flags


def is_form_t(conditions: Conditions) -> bool:
    """Tell whether the flags of a trade with these conditions depend on the time of day."""
    return FORM_T in conditions


def unknown_of(combinations: Iterable[Conditions]) -> set[Hashable]:
    """Return the conditions that are not in the table; the caller reports each once."""
    return {c for conditions in combinations for c in conditions if c not in _SETS and c != FORM_T}


def flags_column(codes: Column, combinations: Sequence[Conditions], ts: Column) -> NDArray[np.uint8]:
    """Return the flags of many trades, (n,) u1.

    codes: (n,) index into `combinations`. ts: (n,) int64, Unix nanoseconds.
    """
    regular = _flags_of_each(combinations, False)
    if not any(map(is_form_t, combinations)):
        return regular[codes]
    extended = _flags_of_each(combinations, True)
    return np.where(is_extended_hours(ts), extended[codes], regular[codes])


def _flags_of_each(combinations: Sequence[Conditions], extended_hours: bool) -> NDArray[np.uint8]:
    return np.fromiter((_flags(c, extended_hours) for c in combinations), _FLAGS, len(combinations))


def is_extended_hours(ts: Column) -> NDArray[np.bool_]:
    """Return a mask of the times in the night, pre-market or after-hours session; ts: (n,) int64, Unix ns."""
    half_hours = ts // _HALF_HOUR_NS
    if not len(half_hours):
        return np.zeros(0, np.bool_)
    if half_hours.min() == half_hours.max():
        return np.full(len(ts), _is_extended(int(half_hours[0])))
    distinct, places = np.unique(half_hours, return_inverse=True)
    return np.fromiter(map(_is_extended, distinct.tolist()), np.bool_, len(distinct))[places]


@lru_cache(maxsize=4096)
def _is_extended(half_hour: int) -> bool:
    """Tell whether a half hour (counted since 1970, UTC) is in the extended hours."""
    at = datetime.fromtimestamp(half_hour * 1800, UTC)
    hours = hours_if_open(day_of(at))
    return hours.first_trades <= at < hours.opens or hours.closes <= at < hours.last_trades or is_night(at)


@lru_cache(maxsize=4096)
def conditions_of_text(text: str) -> Conditions:
    """Read the conditions of a flat file: numbers separated by commas; other texts are kept as unknown."""
    parts = (part.strip() for part in text.split(","))
    return tuple(_condition(part) for part in parts if part)


def conditions_of_json(value: object) -> Conditions:
    """Read the conditions of a trade: an array of numbers, or a text as in a flat file; absent: a regular sale.

    Anything else is unknown.
    """
    if value is None:
        return ()
    if isinstance(value, str | bytes):
        return conditions_of_text(value if isinstance(value, str) else value.decode("utf-8", "surrogateescape"))
    if isinstance(value, list):
        return tuple(map(_condition_of_json, value))
    return (repr(value)[:80],)


def _condition(text: str) -> int | str:
    """Return a number, also one written by a data frame (14.0); any other text unchanged."""
    digits = text.removesuffix(".0")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else text


def _condition_of_json(value: object) -> int | str:
    if isinstance(value, str):
        return _condition(value.strip())
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else repr(value)[:80]
