"""Which trades may set a bar's prices and volume: the fake server's own table.

It has the same content as contracts/spellings/trade_conditions.py, but no common code on purpose: our results are
compared with this server's. Source: Massive's published consolidated update rules (GET /v3/reference/conditions).
"""

from datetime import UTC, date, datetime
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

_NEW_YORK = ZoneInfo("America/New_York")
_PRE_MARKET, _OPEN, _CLOSE, _AFTER_MARKET_END = 4 * 60, 9 * 60 + 30, 16 * 60, 20 * 60  # minutes of the day
_EARLY_CLOSE, _EARLY_AFTER_MARKET_END = 13 * 60, 17 * 60
_FRIDAY = 4
_FORM_T = 12


class Sets(NamedTuple):
    """The fields of its bar that a trade may set."""

    open_close: bool
    high_low: bool
    volume: bool


_EVERYTHING = (
    *(0, 1, 3, 4, 6, 8, 9, 11, 14, 17, 18, 19, 23, 24, 25, 27, 28, 30, 31, 34, 35, 36, 41, 55),
    *range(57, 61),  # about the security, not the trade, as the next ones
    *range(62, 72),
)
_HIGH_LOW_AND_VOLUME = (5, 10, 22, 32, 33)
_VOLUME_ONLY = (2, 7, 13, 20, 21, 29, 37, 52, 53)
_NOTHING = (15, 16, 38)  # 38: in the list it sets prices of the day; in Alpaca's table none of a minute bar

_TABLE = {
    **dict.fromkeys(_EVERYTHING, Sets(True, True, True)),
    **dict.fromkeys(_HIGH_LOW_AND_VOLUME, Sets(False, True, True)),
    **dict.fromkeys(_VOLUME_ONLY, Sets(False, False, True)),
    **dict.fromkeys(_NOTHING, Sets(False, False, False)),
}
_UNKNOWN = Sets(False, False, True)


def sets(conditions: tuple[int, ...], at_ms: int) -> Sets:
    """Return what a trade with these conditions at this time may set: every condition must allow it."""
    return _sets(conditions, _FORM_T in conditions and _outside_regular_hours(at_ms // 60_000))


@lru_cache(maxsize=4096)
def _sets(conditions: tuple[int, ...], form_t_counts: bool) -> Sets:
    form_t = Sets(form_t_counts, form_t_counts, True)
    each = [form_t if code == _FORM_T else _TABLE.get(code, _UNKNOWN) for code in conditions]
    return Sets(*(all(allowed) for allowed in zip(Sets(True, True, True), *each, strict=True)))


@lru_cache(maxsize=4096)
def _outside_regular_hours(minute: int) -> bool:
    """Tell whether a minute (Unix minutes) is in the pre-market or the after-market of New York."""
    local = datetime.fromtimestamp(minute * 60, UTC).astimezone(_NEW_YORK)
    of_day = local.hour * 60 + local.minute
    is_half = _is_half_day(local.date())
    close, end = (_EARLY_CLOSE, _EARLY_AFTER_MARKET_END) if is_half else (_CLOSE, _AFTER_MARKET_END)
    return _PRE_MARKET <= of_day < _OPEN or close <= of_day < end


def _is_half_day(day: date) -> bool:
    """Tell whether the market closes early, by the footnotes of NYSE's "Holiday and Early Closings Calendar".

    It does on the eves of Independence Day and of Christmas, and on the day after Thanksgiving. Not if the eve is a
    Friday: then the holiday, a Saturday, is observed on it.
    """
    if (day.month, day.day) in {(7, 3), (12, 24)}:
        return day.weekday() < _FRIDAY
    return day.month == 11 and 23 <= day.day <= 29 and day.weekday() == _FRIDAY
