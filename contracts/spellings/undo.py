"""Messages that change an earlier trade: `cancel`, and `correct` with a new price and size.

Fields, plain or JSON: type (cancel | correct), symbol, exchange, trade_id; for correct also price and volume. Without a
timestamp the entry's own time is used. Symbol, exchange and trade id are those of the trade; trf_id, its reporting
facility, is needed only if two facilities use the same id. Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..partition import position_of
from .tick_values import NotATick, TickRow, either, price_of, shown, size_of, symbol_of
from .timestamps import timestamp_of
from .trade_key import NO_KEY, facility_of, trade_key
from .trade_note import note_of

UNDOES = {"cancel": 1, "correct": 2}  # the message's type -> the column `undoes`


def undo_of(kind: str, fields: Mapping[str, Any], row_id: int) -> TickRow:
    """Read a cancel or a correction; its size replaces the trade's, 0 for a cancel. Raises NotATick.

    row_id: the id of the front-door entry (partition.number_of), which gives the time of a message without one. 0: the
    message did not come through the front door, and must have a time.
    """
    symbol = symbol_of(either(fields, "symbol", "ticker"))
    key = key_of_trade(fields.get("exchange"), fields.get("trade_id"))
    if key == NO_KEY:
        raise NotATick("unknown_shape", f"a {kind} without the id of a trade: {shown(fields.get('trade_id'))}")
    price = size = 0.0
    if kind == "correct":
        size = size_of(either(fields, "volume", "size"))
        price = price_of(fields.get("price"))
    row = TickRow(symbol, _time_of(fields.get("timestamp"), row_id), price, size, trade_key=key, undoes=UNDOES[kind])
    return with_names(row, fields.get("exchange"), fields.get("trade_id"), fields.get("trf_id"))


def key_of_trade(exchange: object, trade_id: object) -> int:
    """Return the key of an exchange and a trade id; NO_KEY if the id is absent, empty or invalid.

    A valid id or exchange is a text or a whole number.
    """
    if trade_id is None:
        return NO_KEY
    text = text_of(trade_id)
    return trade_key(text_of(exchange), text) if text.strip() else NO_KEY


def with_names(
    row: TickRow, exchange: object, trade_id: object, facility: object, *, conditions: Sequence[object] = ()
) -> TickRow:
    """Return a row with the ids of its trade; the note holds the conditions and ids that do not fit a column."""
    reporter = text_of(facility)
    key = key_of_trade(exchange, trade_id)
    note = note_of(
        conditions=conditions, key=key, exchange=text_of(exchange), trade_id=text_of(trade_id), facility=reporter
    )  # fmt: skip
    return row._replace(trade_key=key, facility=facility_of(reporter), note=note)


def text_of(value: object) -> str:
    """Return an exchange or trade id as text, empty if the value is neither text nor a whole number."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _time_of(stamp: object, row_id: int) -> int:
    if row_id and stamp in (None, b"", ""):
        return timestamp_of(position_of(row_id).ms)
    return timestamp_of(stamp)
