"""Messages that take a trade back: `cancel`, and `correct`, which also says the price and size that stand in its place.

Fields, plain or JSON: type (cancel | correct), symbol, exchange, trade_id; for correct also price and volume; timestamp
may be absent: the entry's own time then. Symbol, exchange and trade id are those that the trade came with; trf_id, its
reporting facility, is needed only where two facilities gave two trades one id. Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..partition import position_of
from .tick_values import NotATick, Row, either, price_of, shown, size_of, symbol_of
from .timestamps import timestamp_of
from .trade_key import NO_KEY, facility_of, trade_key
from .trade_note import note_of

UNDOES = {"cancel": 1, "correct": 2}  # the kind of a message -> the column `undoes`


def undo_of(kind: str, fields: Mapping[str, Any], row_id: int) -> Row:
    """Read a cancel or a correction; its size is what stands in the trade's place, 0 for a cancel. Raises NotATick.

    row_id: the entry's id (partition.number_of), 0 where the message came otherwise and must say its time.
    """
    symbol = symbol_of(either(fields, "symbol", "ticker"))
    key = key_of_trade(fields.get("exchange"), fields.get("trade_id"))
    if key == NO_KEY:
        raise NotATick("unknown_shape", f"a {kind} without the id of a trade: {shown(fields.get('trade_id'))}")
    price = size = 0.0
    if kind == "correct":
        size = size_of(either(fields, "volume", "size"))
        price = price_of(fields.get("price"))
    row = Row(symbol, _time_of(fields.get("timestamp"), row_id), price, size, trade_key=key, undoes=UNDOES[kind])
    return with_names(row, fields.get("exchange"), fields.get("trade_id"), fields.get("trf_id"))


def key_of_trade(exchange: object, trade_id: object) -> int:
    """Return the key that an exchange and a trade id make; NO_KEY where the id is absent, empty, or none.

    What is neither text nor a whole number is no id, and no exchange.
    """
    if trade_id is None:
        return NO_KEY
    text = text_of(trade_id)
    return trade_key(text_of(exchange), text) if text.strip() else NO_KEY


def with_names(
    row: Row, exchange: object, trade_id: object, facility: object, *, conditions: Sequence[object] = ()
) -> Row:
    """Return a row with what names its trade; what of it no column holds, and its conditions, as its note."""
    reporter = text_of(facility)
    key = key_of_trade(exchange, trade_id)
    note = note_of(
        conditions=conditions, key=key, exchange=text_of(exchange), trade_id=text_of(trade_id), facility=reporter
    )  # fmt: skip
    return row._replace(trade_key=key, facility=facility_of(reporter), note=note)


def text_of(value: object) -> str:
    """Return the text that names an exchange or a trade, empty where the value is neither text nor a whole number."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _time_of(stamp: object, row_id: int) -> int:
    if row_id and stamp in (None, b"", ""):
        return timestamp_of(position_of(row_id).ms)
    return timestamp_of(stamp)
