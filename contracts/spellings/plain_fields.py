"""Plain fields of a stream entry (`symbol price volume timestamp [type source ...]`) -> columns, or one row. Pure.

Both readers give the same result. The columns are faster; odd rows are left to the reader of single rows. A trade may
have `exchange`, `trade_id`, `trf_id` and `conditions`; contracts.spellings.undo reads cancels and corrections.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..ticks import MAX_BODY_BYTES, SETS_ALL, Column, Ticks
from .tick_values import NotATick, TickRow, number_column, price_with_size, size_of, sound_rows, symbol_of, symbol_table
from .timestamps import timestamp_column, timestamp_of
from .trade_columns import OptionalColumns, optional_columns
from .trade_conditions import TRADE_RULES, conditions_of_json, flags_of
from .undo import UNDOES, text_of, undo_of, with_names

_QUOTES = frozenset((b"Q", b"quote"))
_WHOLE_MINUTES = frozenset((b"AM",))
_UNDOS = frozenset(kind.encode() for kind in UNDOES)
_NO_TRADES = _QUOTES | _WHOLE_MINUTES | _UNDOS
_TRADE_NAMES, _CONDITIONS = (b"exchange", b"trade_id", b"trf_id"), b"conditions"


class _Names(NamedTuple):
    """The field names that hold the values of a tick; None: absent."""

    symbol: bytes | None
    price: bytes | None
    size: bytes | None
    timestamp: bytes | None
    kind: bytes | None


def is_plain(fields: Mapping[bytes, bytes]) -> bool:
    """Tell whether some fields are meant as a plain tick, valid or not."""
    return b"price" in fields or ((b"symbol" in fields or b"ticker" in fields) and b"data" not in fields)


def row_of_fields(fields: Mapping[bytes, bytes], rules: TRADE_RULES, *, row_id: int = 0) -> TickRow:
    """Read one entry's fields. The time of a plain tick is never shifted. Raises NotATick.

    row_id: the entry's id; a cancel or correction without a time gets the time of its id.
    """
    names = _names(fields)
    kind = fields[names.kind] if names.kind else b""
    if kind in _UNDOS:
        return undo_of(kind.decode(), {name.decode("ascii", "replace"): text for name, text in fields.items()}, row_id)
    if kind in _WHOLE_MINUTES:
        raise NotATick("unknown_shape", "a whole minute has no plain form: send it as JSON, in the field data")
    symbol = symbol_of(fields[names.symbol] if names.symbol else None)
    if kind in _QUOTES:
        return TickRow(symbol, timestamp_of(fields.get(b"timestamp")), 0.0, 0.0)
    size = size_of(fields[names.size] if names.size else None)
    price = price_with_size(fields.get(b"price"), size)
    ts, conditions = timestamp_of(fields.get(b"timestamp")), conditions_of_json(fields.get(_CONDITIONS))
    flags = flags_of(conditions, ts) if rules == "sip" else SETS_ALL
    return with_names(
        TickRow(symbol, ts, price, size, flags=flags),
        *(fields.get(name) for name in _TRADE_NAMES),
        conditions=conditions,
    )


def columns_of_fields(
    names: Sequence[bytes], entries: Sequence[Sequence[bytes]], rules: TRADE_RULES
) -> tuple[Ticks, NDArray[np.bool_]] | None:
    """Read entries with the same field names in one step: the valid rows, and a mask of their entries.

    Return None if the fields are not plain ticks. Entries outside the mask may still be valid: see row_of_fields.
    """
    found = _names(names)
    if None in found[:4] or len(set(names)) < len(names):
        return None
    columns = {name: [fields[2 * i + 1] for fields in entries] for i, name in enumerate(names)}
    if _may_be_too_large(columns):
        return None
    symbol_texts, price_texts, size_texts, ts_texts = (columns[name] for name in found[:4] if name)
    symbols, codes = _coded(symbol_texts)
    ts = timestamp_column(ts_texts)
    price, size = number_column(price_texts), number_column(size_texts)
    sound, price = sound_rows(codes, ts, price, size)
    if found.kind:
        sound &= _trades(columns[found.kind])
    told = _optional_columns(columns, ts, rules)
    ticks = Ticks(symbols, codes, ts, price, size, told.columns, notes=told.notes)
    return (ticks if sound.all() else ticks.take(sound)), sound


def _names(fields: Collection[bytes]) -> _Names:
    def first(*names: bytes) -> bytes | None:
        return next((name for name in names if name in fields), None)

    return _Names(
        first(b"symbol", b"ticker"),
        first(b"price"),
        first(b"volume", b"size"),
        first(b"timestamp"),
        first(b"event_type", b"type"),
    )


def _may_be_too_large(columns: Mapping[bytes, Sequence[bytes]]) -> bool:
    return sum(len(name) + max(map(len, texts)) for name, texts in columns.items()) > MAX_BODY_BYTES


def _coded(texts: Sequence[bytes]) -> tuple[list[str], NDArray[np.int32]]:
    distinct = dict.fromkeys(texts)
    symbols, codes = symbol_table(distinct)
    code_of = dict(zip(distinct, codes, strict=True))
    return symbols, np.fromiter(map(code_of.__getitem__, texts), "<i4", len(texts))


def _optional_columns(columns: Mapping[bytes, Sequence[bytes]], ts: Column, rules: TRADE_RULES) -> OptionalColumns:
    exchanges, ids, facilities = ([text_of(text) for text in columns.get(name, ())] for name in _TRADE_NAMES)
    conditions = [conditions_of_json(text) for text in columns.get(_CONDITIONS, ())]
    return optional_columns(
        exchanges=exchanges, ids=ids, facilities=facilities, conditions=conditions, ts=ts, rules=rules
    )  # fmt: skip


def _trades(kinds: Sequence[bytes]) -> NDArray[np.bool_]:
    if _NO_TRADES.isdisjoint(kinds):
        return np.ones(len(kinds), np.bool_)
    return np.fromiter((kind not in _NO_TRADES for kind in kinds), np.bool_, len(kinds))
