"""Write ticks as JSON that the front door can read again: the content of a dead letter. Pure.

It holds type, symbol, time, prices, size, and a trade's own fields: sent again, it gives the same tick.
"""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from ..ticks import OPTIONAL_COLUMNS, Column, Ticks
from .trade_note import trade_fields
from .undo import UNDOES

_PRICES = {"open": "o", "high": "h", "low": "l", "vwap": "vw"}
_CORRECT = UNDOES["correct"]
_KIND_OF = {number: kind for kind, number in UNDOES.items()}


def originals(ticks: Ticks) -> Sequence[bytes]:
    """Return the JSON of each tick."""
    names = [name for name in OPTIONAL_COLUMNS if name in ticks.optional]
    columns = [_listed(ticks.optional[name]) for name in names]
    rows = zip(*columns, strict=True) if columns else [()] * len(ticks)
    told = [dict(zip(names, row, strict=True)) for row in rows]
    base = (ticks.symbol_index.tolist(), ticks.price.tolist(), ticks.size.tolist(), ticks.ts.tolist())
    return [
        _encoded(_spelled(ticks.symbols[code], price, size, ts, row, ticks.notes))
        for code, price, size, ts, row in zip(*base, told, strict=True)
    ]


def _encoded(spelled: dict[str, Any]) -> bytes:
    """Return the JSON of a tick; names with invalid UTF-8 and numbers of any size are possible."""
    try:
        return msgspec.json.encode(spelled)
    except (UnicodeEncodeError, OverflowError):
        return json.dumps(spelled, separators=(",", ":")).encode()


def _listed(column: Column) -> list[Any]:
    return list(column.tolist())


def _spelled(
    symbol: str, price: float, size: float, ts: int, row: dict[str, Any], notes: Sequence[str]
) -> dict[str, Any]:
    said = trade_fields(row.get("trade_key", 0), row.get("facility", 0), _note(row, notes))
    if undoes := row.get("undoes", 0):
        stands = {"price": price, "volume": size} if undoes == _CORRECT else {}
        return {"type": _KIND_OF.get(undoes), "symbol": symbol, **stands, "timestamp": ts, **said}
    if not said and any(name in row for name in _PRICES):
        kind = "AM" if row.get("whole_minute") else "A"
        prices = {"c": price, **{letters: row.get(name, price) for name, letters in _PRICES.items()}}
        return {"ev": kind, "sym": symbol, **prices, "v": size, "s": ts}
    return {"symbol": symbol, "price": price, "volume": size, "timestamp": ts, **said}


def _note(row: dict[str, Any], notes: Sequence[str]) -> str:
    place = row.get("note", 0)
    return notes[place - 1] if place else ""
