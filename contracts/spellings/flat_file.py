"""The CSV of Massive's trade flat files: which columns we need, and one line of it -> a row.

Columns are found by name, in any order; others are ignored. Without `correction` every trade counts. `exchange`, `id`
and `trf_id` identify a trade, if present. The trade rules decide the rest: `all` reads no `conditions`.

Corrections, by the list in Massive's glossary of conditions and indicators, which is that of NYSE's Daily TAQ Client
Specification ("Trade Correction Indicator"; massive.com/glossary/conditions-indicators, polygon-io/issues#306):
0 a regular trade, never corrected; 1 corrected later, and this row holds the CORRECTED data: both count by `sip`.
7 was an error, 8 was cancelled; 10 the record of a cancel, 11 of an error, 12 of a correction, with the original,
wrong data: none of these counts. By `all` only 0 does, because in other files 1 marks a suspicious trade.
"""

import csv
import re
from collections.abc import Mapping, Sequence

from ..errors import UsageError
from ..printable import printable
from ..ticks import MAX_BODY_BYTES, MAX_TS_NS, MIN_TS_NS, SETS_ALL, Refused
from .tick_values import NotATick, TickRow, price_with_size, shown, size_of, symbol_of
from .trade_conditions import DEFAULT_RULES, TRADE_RULES, Conditions, conditions_of_text, flags_of
from .undo import with_names

TICKER, PRICE, SIZE, TIME, CORRECTION = "ticker", "price", "size", "sip_timestamp", "correction"
CONDITIONS, EXCHANGE, TRADE_ID, FACILITY = "conditions", "exchange", "id", "trf_id"
REQUIRED: Mapping[TRADE_RULES, Sequence[str]] = {
    "all": (TICKER, PRICE, SIZE, TIME),
    "sip": (TICKER, PRICE, SIZE, TIME, CONDITIONS),  # without conditions every trade would count as a regular sale
}
READ: Mapping[TRADE_RULES, Sequence[str]] = {
    "all": (*REQUIRED["all"], CORRECTION, EXCHANGE, TRADE_ID, FACILITY),
    "sip": (*REQUIRED["sip"], CORRECTION, EXCHANGE, TRADE_ID, FACILITY),
}
CORRECTIONS_THAT_COUNT: Mapping[TRADE_RULES, Sequence[int]] = {"all": (0,), "sip": (0, 1)}

# The vendor's column order.
STANDARD_COLUMNS = (
    "ticker", "conditions", "correction", "exchange", "id", "participant_timestamp", "price", "sequence_number",
    "sip_timestamp", "size", "tape", "trf_id", "trf_timestamp",
)  # fmt: skip

_COLUMNS_ARE = " (columns: "
_PLAIN_NAME = re.compile(r"[\w .-]+", re.ASCII)
_MAX_COLUMNS_LENGTH = 2_000
_WHOLE = re.compile(r"\d{1,19}", re.ASCII)
_FLOAT = re.compile(r"\d{1,19}(?:\.\d*)?(?:[eE]\+?\d{1,2})?", re.ASCII)
NOTHING = ("", "nan", "NaN", "NAN", "null", "NULL", "None", "<NA>")  # how data frames write a missing value
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def rules_of(names: Sequence[str]) -> TRADE_RULES:
    """Return the default rules of a file, by its columns: sip if it has conditions."""
    return DEFAULT_RULES if CONDITIONS in names else "all"


def read_header(line: bytes, file: str, rules: TRADE_RULES = "all") -> list[str]:
    """Return the names of a file's columns. Raises UsageError if it is not a trade flat file."""
    try:
        names = [name.strip().lower() for name in _fields(line.removeprefix(_BYTE_ORDER_MARK))]
    except NotATick as e:
        raise UsageError(f"{file}: the first line is not a CSV header: {e.detail}") from e
    missing = [name for name in REQUIRED[rules] if name not in names]
    if missing:
        raise UsageError(f"{file}: not a trade flat file: its first line lacks {', '.join(missing)}: {shown(line)}")
    double = [name for name in READ[rules] if names.count(name) > 1]
    if double:
        raise UsageError(f"{file}: its first line names {', '.join(double)} twice")
    return names


def read_line(line: bytes, names: Sequence[str], rules: TRADE_RULES = "all") -> TickRow | None:
    """Read one line; None if its trade does not count. Raises NotATick."""
    fields = _fields(line)
    if len(fields) != len(names):
        raise NotATick("bad_row", f"{len(fields)} fields, but the header names {len(names)}")
    named = dict(zip(names, fields, strict=True))
    if _correction(named.get(CORRECTION, "")) not in CORRECTIONS_THAT_COUNT[rules]:
        return None
    symbol, size = symbol_of(named[TICKER]), size_of(named[SIZE])
    ts, price = _nanoseconds(named[TIME]), price_with_size(named[PRICE], size)
    conditions = conditions_of_field(named[CONDITIONS]) if rules == "sip" else ()
    row = TickRow(symbol, ts, price, size, flags=flags_of(conditions, ts) if conditions else SETS_ALL)
    names_of_trade = (whole_text(named.get(name, "")) for name in (EXCHANGE, TRADE_ID, FACILITY))
    return with_names(row, *names_of_trade, conditions=conditions)


def refused_line(error: NotATick, line: bytes, names: Sequence[str], place: str) -> Refused:
    """Return an invalid line as a dead letter. place: FILE:LINE.

    The detail names the columns if they are not the vendor's: without them the line cannot be read. A column name that
    is not a plain word is written as `?`, to keep the positions of the others.
    """
    columns = ",".join(name if _PLAIN_NAME.fullmatch(name) else "?" for name in names)
    told = "" if tuple(names) == STANDARD_COLUMNS or len(columns) > _MAX_COLUMNS_LENGTH else f"{_COLUMNS_ARE}{columns})"
    return Refused(error.reason, f"{printable(place)}: {error.detail}{told}", line[:MAX_BODY_BYTES])


def columns_in(detail: str) -> Sequence[str]:
    """Return the columns of a dead letter's line, from its detail."""
    _, told, columns = detail.rpartition(_COLUMNS_ARE)
    return columns.removesuffix(")").split(",") if told else STANDARD_COLUMNS


def conditions_of_line(line: bytes, names: Sequence[str]) -> Conditions:
    """Return the conditions of a line that read_line accepted."""
    return conditions_of_field(_fields(line)[names.index(CONDITIONS)])


def conditions_of_field(text: str) -> Conditions:
    """Return the conditions in a field: numbers separated by commas, or one number as a data frame writes it."""
    return conditions_of_text(whole_text(text))


def _fields(line: bytes) -> list[str]:
    text = line.removesuffix(b"\r").decode("utf-8", "surrogateescape")  # symbol_of refuses invalid UTF-8
    try:
        return next(csv.reader([text], strict=True, skipinitialspace=True), [])
    except csv.Error as e:
        raise NotATick("bad_row", str(e)) from e


def place_of_line(line: bytes, names: Sequence[str]) -> tuple[str, int] | None:
    """Return the symbol and the time of a line; None if they are invalid."""
    try:
        fields = _fields(line)
        if len(fields) != len(names):
            return None
        return symbol_of(fields[names.index(TICKER)]), _nanoseconds(fields[names.index(TIME)])
    except NotATick:
        return None


def whole_text(text: str) -> str:
    """Return the digits of a whole number that a data frame wrote as a float; any other text unchanged.

    A data frame's column with an empty field holds floats: `4.0`, `7.1675577320245e+16`.
    """
    text = text.strip()
    if text in NOTHING:
        return ""
    if not _WHOLE.fullmatch(text) and _FLOAT.fullmatch(text) and float(text).is_integer():
        return str(int(float(text)))
    return text


def _correction(text: str) -> int:
    text = whole_text(text)
    if text and not _WHOLE.fullmatch(text):
        raise NotATick("bad_row", f"correction is not a whole number: {shown(text)}")
    return int(text or 0)


def _nanoseconds(text: str) -> int:
    """Read nanoseconds. No other unit is accepted: guessing is dangerous in a file of billions."""
    digits = whole_text(text)
    ns = int(digits) if _WHOLE.fullmatch(digits) else 0
    if not MIN_TS_NS <= ns < MAX_TS_NS:
        raise NotATick("timestamp", f"{TIME} is not a time from 1990 to 2099 in nanoseconds: {shown(text)}")
    return ns
