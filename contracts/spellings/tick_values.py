"""Check single values of a tick, and columns of them: symbol, price, size; and make rows."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import TickStockError
from ..ticks import (
    MAX_PRICE,
    MAX_SIZE,
    MAX_SYMBOL_LENGTH,
    MAX_TS_NS,
    MIN_TS_NS,
    OPTIONAL_COLUMNS,
    SETS_ALL,
    SHARE_MICRO,
    Refused,
    Ticks,
)
from .trade_key import NO_KEY
from .trade_note import note_columns

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
# with only these characters float() accepts exactly what _NUMBER matches: no nan, no 1_000, no spaces
_NUMBER_BYTES = b"0123456789.+-eE"
_BLANKS = " \t\r\n"
_OPTION = "O:"  # prefix of the vendor's option tickers
_SHOWN_LENGTH = 80


class NotATick(TickStockError):
    """This row is not a tick: store it as Refused with this reason, continue with the next."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class TickRow(NamedTuple):
    """One tick, read alone; the fields are the columns of Ticks. None: the feed has no such value."""

    symbol: str
    ts: int
    price: float
    size: float
    open: float | None = None
    high: float | None = None
    low: float | None = None
    vwap: float | None = None
    whole_minute: int = 0
    flags: int = SETS_ALL
    trade_count: int = 1
    trade_key: int = NO_KEY
    undoes: int = 0
    facility: int = 0
    note: str = ""


def shown(value: object) -> str:
    """Return a value for a human: short, and escaped, so that every encoder and PostgreSQL accept it."""
    if isinstance(value, dict | list):  # may be nested very deep: do not print it
        return "an object" if isinstance(value, dict) else "an array"
    if isinstance(value, bytes):
        value = value[:_SHOWN_LENGTH].decode("latin-1")  # any bytes; readers do not need Python's notation
    return ascii(value)[:_SHOWN_LENGTH]


def either(fields: Mapping[str, Any], *names: str) -> Any:
    """Return the first of these values that exists and is not null."""
    for name in names:
        value = fields.get(name)
        if value is not None:
            return value
    return None


def symbol_of(value: object) -> str:
    """Return a symbol without blanks around it, in its own case.

    All options are refused: most of their tickers are longer than a symbol may be, and accepting only the short ones
    would be misleading. Raises NotATick.
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")  # invalid UTF-8 becomes a surrogate: not printable
    if not isinstance(value, str):
        raise NotATick("symbol", f"symbol is {'missing' if value is None else 'no text'}: {shown(value)}")
    symbol = value.strip(_BLANKS)
    if symbol.startswith(_OPTION):
        raise NotATick("symbol", f"options are not taken: their tickers are too long for a symbol: {shown(value)}")
    # Not printable are control characters, lone surrogates, and characters that make two symbols look alike (a
    # zero-width space).
    if not symbol or len(symbol) > MAX_SYMBOL_LENGTH or not symbol.isprintable():
        raise NotATick("symbol", f"not 1 to {MAX_SYMBOL_LENGTH} printable characters: {shown(value)}")
    return symbol


def number_of(value: object) -> float:
    """Return a number, or the number in a decimal text; NaN for anything else, booleans and null included."""
    if isinstance(value, float):
        return value
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if isinstance(value, str):
        text = value.strip(_BLANKS)
        return float(text) if _NUMBER.fullmatch(text) else float("nan")
    if isinstance(value, bool) or not isinstance(value, int):
        return float("nan")
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def price_of(value: object, name: str = "price") -> float:
    """Return a price in dollars. name: the field, for the error. Raises NotATick if it is out of bounds."""
    price = number_of(value)
    if not 0 < price < MAX_PRICE:
        raise NotATick("price", f"{name} is not above 0 and below {MAX_PRICE:g}: {shown(value)}")
    return price


def size_of(value: object) -> float:
    """Return a size in shares. Raises NotATick if it is out of bounds."""
    size = number_of(value)
    if not 0 <= size < MAX_SIZE:
        raise NotATick("size", f"size is not 0 or more and below {MAX_SIZE:g}: {shown(value)}")
    if is_too_small(size):
        raise NotATick("size", f"size is below half a millionth of a share, and would count as 0: {shown(value)}")
    return size


def is_too_small(size: Any) -> Any:
    """Tell whether a size (or each of a column) is not 0, but would be counted as 0 millionths."""
    return (size > 0) & (np.rint(np.clip(size, 0.0, 1.0) * SHARE_MICRO) == 0)  # clipped: a huge size would overflow


def price_with_size(value: object, size: float) -> float:
    """Return a price. With size 0 an invalid price becomes 0: the tick changes no bar."""
    if size:
        return price_of(value)
    price = number_of(value)
    return price if 0 < price < MAX_PRICE else 0.0


def whole_numbers(texts: Iterable[bytes]) -> NDArray[np.uint64]:
    """Return the whole numbers below 2^64 that some texts of digits are; a text with blanks has several."""
    return np.fromstring(b" ".join(texts), "<u8", sep=" ")


def number_column(texts: Sequence[bytes]) -> NDArray[np.float64]:
    """Return number_of of each text."""
    try:
        if not b"".join(texts).translate(None, _NUMBER_BYTES):
            return np.fromiter(map(float, texts), "<f8", len(texts))
    except ValueError:
        pass  # one text is not a number: convert them one by one
    return np.fromiter(map(number_of, texts), "<f8", len(texts))


def symbol_table(distinct: Iterable[str | bytes]) -> tuple[list[str], list[int]]:
    """Return the distinct symbols of some texts, and the index of each text's symbol (-1: invalid)."""
    places: dict[str, int] = {}
    codes = []
    for text in distinct:
        try:
            codes.append(places.setdefault(symbol_of(text), len(places)))
        except NotATick:
            codes.append(-1)
    return list(places), codes


def sound_rows(
    codes: NDArray[np.integer], ts: NDArray[np.int64], price: NDArray[np.float64], size: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return a mask of the valid ticks, and the prices, 0 where one is invalid. A row of size 0 needs no price."""
    fair = (price > 0) & (price < MAX_PRICE)
    sound = (codes >= 0) & (ts >= MIN_TS_NS) & (ts < MAX_TS_NS) & (size >= 0) & (size < MAX_SIZE) & (fair | (size == 0))
    sound &= ~is_too_small(size)
    return sound, price if fair.all() else np.where(fair, price, 0.0)


def ticks_of_rows(rows: Sequence[TickRow], refused: Sequence[Refused] = ()) -> Ticks:
    """Return rows as columns; an optional column exists if any row has a value for it."""
    if not rows:
        return Ticks.empty(refused)
    symbols, ts, price, size, *others = zip(*rows, strict=True)
    places: dict[str, int] = {}
    symbol_index = np.fromiter((places.setdefault(symbol, len(places)) for symbol in symbols), "<i4", len(rows))
    optional, notes = note_columns(others.pop())
    for name, values in zip(TickRow._fields[4:-1], others, strict=True):
        absent = TickRow._field_defaults[name]
        if values.count(absent) < len(rows):
            told = [p if value is None else value for value, p in zip(values, price, strict=True)]
            optional[name] = np.array(told, OPTIONAL_COLUMNS[name])
    ts_column, price_column, size_column = np.array(ts, "<i8"), np.array(price, "<f8"), np.array(size, "<f8")
    return Ticks(list(places), symbol_index, ts_column, price_column, size_column, optional, refused, notes)
