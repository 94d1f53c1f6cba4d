"""The CSV of Massive's trade flat files: which columns we need, and one line of it -> a row.

Columns are found by their names, in any order, among any others. A trade that was corrected or cancelled (`correction`
other than 0) is left out; a file without that column has none. `conditions` are not read.
"""

import csv
import re
from collections.abc import Sequence

from .errors import UsageError
from .tick_values import NotATick, Row, price_with_size, shown, size_of, symbol_of
from .ticks import MAX_TS_NS, MIN_TS_NS

TICKER, PRICE, SIZE, TIME, CORRECTION = "ticker", "price", "size", "sip_timestamp", "correction"
REQUIRED = (TICKER, PRICE, SIZE, TIME)

_WHOLE = re.compile(r"\d{1,19}", re.ASCII)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_header(line: bytes, file: str) -> list[str]:
    """Return the names of a file's columns. Raises UsageError where it is no trade flat file."""
    try:
        names = [name.strip() for name in _fields(line.removeprefix(_BYTE_ORDER_MARK))]
    except NotATick as e:
        raise UsageError(f"{file}: the first line is no CSV header: {e.detail}") from e
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise UsageError(f"{file}: no trade flat file, its first line lacks {', '.join(missing)}: {shown(line)}")
    double = [name for name in (*REQUIRED, CORRECTION) if names.count(name) > 1]
    if double:
        raise UsageError(f"{file}: its first line names {', '.join(double)} twice")
    return names


def read_line(line: bytes, names: Sequence[str]) -> Row | None:
    """Read one line; None where its trade is left out. Raises NotATick."""
    fields = _fields(line)
    if len(fields) != len(names):
        raise NotATick("bad_row", f"{len(fields)} fields, but the header names {len(names)}")
    named = dict(zip(names, fields, strict=True))
    if _correction(named.get(CORRECTION, "")):
        return None
    symbol, size = symbol_of(named[TICKER]), size_of(named[SIZE])
    return Row(symbol, _nanoseconds(named[TIME]), price_with_size(named[PRICE], size), size)


def _fields(line: bytes) -> list[str]:
    text = line.removesuffix(b"\r").decode("utf-8", "surrogateescape")  # symbol_of refuses what is no UTF-8
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error as e:
        raise NotATick("bad_row", str(e)) from e


def _correction(text: str) -> int:
    text = text.strip()
    if text and not _WHOLE.fullmatch(text):
        raise NotATick("bad_row", f"correction is no whole number: {shown(text)}")
    return int(text or 0)


def _nanoseconds(text: str) -> int:
    """Read nanoseconds and no other unit: in a file of billions a guess would be no kindness."""
    ns = int(text) if _WHOLE.fullmatch(text.strip()) else 0
    if not MIN_TS_NS <= ns < MAX_TS_NS:
        raise NotATick("timestamp", f"{TIME} is no time from 1990 to 2099 in nanoseconds: {shown(text)}")
    return ns
