"""A tick's time in any format -> int64 nanoseconds since 1970, UTC. The size of a number shows its unit."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Context, Decimal
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..ticks import MAX_TS_NS, MIN_TS_NS
from .tick_values import NotATick, shown, whole_numbers

SECOND_NS = 1_000_000_000

# Nanoseconds of a second, millisecond, microsecond, nanosecond. 1990 to 2100 is a factor of 6.5, and the units differ
# by 1000: no number is a valid time in two units.
_UNITS_NS = (SECOND_NS, 1_000_000, 1_000, 1)
_BOUNDS = [(unit, MIN_TS_NS // unit, MAX_TS_NS // unit) for unit in _UNITS_NS]

_NUMBER = re.compile(r"\+?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?|\d{8}[T ]\d{4}(?:\d\d)?)"  # extended or basic, to the second
    r"(?:(?<=\d\d\d\d\d\d|:\d\d:\d\d)[.,](\d+))? ?"  # a fraction, of the second only
    r"(?:(Z)|([+-])(\d\d):?([0-5]\d)?)?",
    re.ASCII | re.IGNORECASE,
)
_TRUNCATING = Context(prec=64, rounding=ROUND_DOWN)
_MAX_LENGTH = 64
_WHOLE_DIGITS = 19  # always fit a uint64
_SECOND_DIGITS, _DECIMALS = 10, 9  # seconds with at most 10 digits and nine decimals fit a uint64


def timestamp_of(value: object) -> int:
    """Return Unix nanoseconds from a number (s, ms, us or ns) or a text (a number or ISO-8601; no zone means UTC).

    Text and whole numbers are exact (cut below the nanosecond). A float is rounded to the microsecond, the precision of
    a float64 for seconds since 1970. Raises NotATick("timestamp").
    """
    ns = None
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if isinstance(value, str):
        ns = _ns_of_text(value.strip())
    elif isinstance(value, float):
        ns = _ns_of_float(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        ns = _ns_of_whole(value)
    if ns is None or not MIN_TS_NS <= ns < MAX_TS_NS:
        raise NotATick("timestamp", f"not a time from 1990 to 2099: {shown(value)}")
    return ns


def timestamp_column(texts: Sequence[bytes]) -> NDArray[np.int64]:
    """Return timestamp_of of each text, 0 if it is invalid."""
    whole = [i for i, text in enumerate(texts) if text.isdigit() and len(text) <= _WHOLE_DIGITS]
    if len(whole) == len(texts):
        return _ns_of_wholes(texts)
    ns = np.zeros(len(texts), "<i8")
    ns[whole] = _ns_of_wholes([texts[i] for i in whole])
    rest = sorted(set(range(len(texts))).difference(whole))
    is_decimal, ns[rest] = _ns_of_decimals([texts[i] for i in rest])
    other = [rest[i] for i in np.flatnonzero(~is_decimal).tolist()]
    ns[other] = [_ns_or_zero(texts[i]) for i in other]
    return ns


def _ns_of_wholes(texts: Sequence[bytes]) -> NDArray[np.int64]:
    numbers = whole_numbers(texts)
    ns = np.zeros(len(texts), "<i8")
    for unit, lowest, above in _BOUNDS:
        inside = (numbers >= lowest) & (numbers < above)
        ns[inside] = numbers[inside].astype("<i8") * unit
    return ns


def _ns_of_decimals(texts: Sequence[bytes]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which texts are seconds with decimals, and timestamp_of of these, 0 if it is invalid."""
    points = np.fromiter((text.find(b".") for text in texts), "<i8", len(texts))
    lengths = np.fromiter(map(len, texts), "<i8", len(texts))
    digits = [text.replace(b".", b"", 1) for text in texts]
    is_decimal = np.fromiter(map(bytes.isdigit, digits), bool, len(texts))
    is_decimal &= (points >= 0) & (points <= _SECOND_DIGITS) & (lengths <= _MAX_LENGTH)
    some, places = np.flatnonzero(is_decimal), lengths - 1 - points
    for i in np.flatnonzero(is_decimal & (places > _DECIMALS)).tolist():
        digits[i] = digits[i][: points[i] + _DECIMALS]
    numbers = whole_numbers(digits[i] for i in some.tolist())
    numbers *= 10 ** np.maximum(_DECIMALS - places, 0)[some].astype("<u8")
    ns = np.zeros(len(texts), "<i8")
    ns[some] = np.where((numbers >= MIN_TS_NS) & (numbers < MAX_TS_NS), numbers, 0)
    return is_decimal, ns


def _ns_or_zero(text: bytes) -> int:
    try:
        return timestamp_of(text)
    except NotATick:
        return 0


def _unit_of(number: float | Decimal) -> int | None:
    for unit, lowest, above in _BOUNDS:
        if lowest <= number < above:
            return unit
    return None


def _ns_of_whole(number: int) -> int | None:
    unit = _unit_of(number)
    return None if unit is None else number * unit


def _ns_of_float(number: float) -> int | None:
    unit = _unit_of(number)
    if unit is None:
        return None
    fraction, whole = math.modf(number)
    return int(whole) * unit + round(fraction * unit / 1000) * 1000


def _ns_of_text(text: str) -> int | None:
    if len(text) > _MAX_LENGTH:
        return None
    if _NUMBER.fullmatch(text):
        number = Decimal(text)
        unit = _unit_of(number)
        return None if unit is None else int(_TRUNCATING.multiply(number, Decimal(unit)))
    match = _ISO.fullmatch(text)
    return _ns_of_iso(match) if match else None


def _ns_of_iso(match: re.Match[str]) -> int | None:
    to_second, fraction, _, sign, hours, minutes = match.groups()
    second = _unix_second(to_second)
    if second is None or (hours and int(hours) > 23):
        return None
    if sign:
        ahead_s = int(hours) * 3600 + int(minutes or 0) * 60
        second -= ahead_s if sign == "+" else -ahead_s
    return second * SECOND_NS + int(((fraction or "") + "000000000")[:9])


@lru_cache(maxsize=256)  # the ticks of a feed share their second
def _unix_second(text: str) -> int | None:
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None
