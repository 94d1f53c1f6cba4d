"""Massive's WebSocket messages -> Ticks and status messages. Pure.

A message is an array that mixes event types (massive.com/docs/websocket/stocks): T trades, A seconds, AM minutes, Q
quotes, status. Typed decode, then columns; elements that do not fit are read one by one by the rules of `tick_json`.
"""

import json
from bisect import bisect_right
from collections.abc import Hashable, Sequence
from dataclasses import replace
from math import nan
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..ticks import (  # fmt: skip
    MAX_BODY_BYTES,
    MAX_PRICE,
    MAX_TS_NS,
    MIN_TS_NS,
    OPTIONAL_COLUMNS,
    Column,
    Refused,
    Ticks,
    concat,
)
from .tick_json import parse_json
from .tick_values import number_column, sound_rows, symbol_table
from .trade_columns import optional_columns
from .trade_conditions import DEFAULT_RULES, TRADE_RULES, unknown_of

_MS_NS = 1_000_000
_MIN_MS, _MAX_MS = MIN_TS_NS // _MS_NS, MAX_TS_NS // _MS_NS

# NaN: the value is absent; JSON has no NaN of its own.
_Milliseconds = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]


class _Event(msgspec.Struct, tag_field="ev", gc=False):
    sym: str


class _Trade(_Event, tag="T"):
    t: _Milliseconds
    p: float = nan
    s: float = nan
    ds: str | None = None  # decimal text, because sizes may be fractional (since 2026); preferred to `s`
    x: int | str = ""
    i: str = ""
    c: tuple[int, ...] | None = ()
    trfi: int | None = 0


class _Second(_Event, tag="A"):
    s: _Milliseconds  # start of the second. Its end may belong to the next minute
    c: float = nan
    o: float = nan
    h: float = nan
    l: float = nan  # noqa: E741  # Massive's own name
    v: float = nan
    dv: str | None = None
    vw: float = nan


class _Minute(_Second, tag="AM"):
    pass


class _Quote(_Event, tag="Q"):
    t: _Milliseconds


class ServerStatus(msgspec.Struct, tag_field="ev", tag="status", frozen=True):
    """The server's message about the connection: connected, auth_success, auth_failed, max_connections and others."""

    status: str = ""
    message: str = ""


_decode_array = msgspec.json.Decoder(list[_Trade | _Second | _Minute | _Quote | ServerStatus]).decode
_decode_event = msgspec.json.Decoder(_Trade | _Second | _Minute | _Quote | ServerStatus).decode
_decode_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode
_NOT_SO = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_Columns = tuple[Ticks, NDArray[np.bool_]]  # rows, and which of them are ticks


class Parsed(NamedTuple):
    """The content of some messages. unknown: conditions of trades that are not in the table of conditions."""

    ticks: Ticks
    statuses: list[ServerStatus]
    unknown: set[Hashable]


def parse_messages(bodies: Sequence[bytes], rules: TRADE_RULES = DEFAULT_RULES) -> Parsed:
    """Read messages, in order, into one batch.

    rules: sip gives trades the column `flags`, by their conditions. A trade with an id gets a `trade_key`; `facility`
    and `note` hold its other fields.
    """
    events, starts = _events(bodies)
    readers = _Readers(rules)
    odd: list[tuple[int, bytes]] = []
    parts: list[tuple[NDArray[np.intp], Ticks]] = []
    statuses: list[ServerStatus] = []
    for kind in set(map(type, events)):
        where = np.array([i for i, event in enumerate(events) if type(event) is kind])
        chosen = events if len(where) == len(events) else [events[i] for i in where.tolist()]
        if kind is ServerStatus:
            statuses = chosen
        elif kind is bytes:
            odd += zip(where.tolist(), chosen, strict=True)
        else:
            ticks, sound = readers.columns_of(kind, chosen)
            odd += [(i, _element(bodies, starts, i)) for i in where[~sound].tolist()]
            parts.append((where, ticks) if sound.all() else (where[sound], ticks.take(sound)))
    refused: list[Refused] = []
    for i, element in sorted(odd):
        ticks = _read_alone(element, rules)
        refused += ticks.refused
        parts.append((np.full(len(ticks), i), replace(ticks, refused=())))
    return Parsed(_in_order(parts, refused), statuses, readers.unknown)


def _in_order(parts: Sequence[tuple[NDArray[np.intp], Ticks]], refused: Sequence[Refused]) -> Ticks:
    filled = [(where, ticks) for where, ticks in parts if len(ticks)]
    if not filled:
        return Ticks.empty(refused)
    ticks = concat(ticks for _, ticks in filled)
    order: Column | slice = slice(None)
    if len(filled) > 1:
        order = np.argsort(np.concatenate([where for where, _ in filled]), kind="stable")
    return ticks.take(order, refused)


# -- messages and their elements ------------------------------------------------------------------------------------


def _events(bodies: Sequence[bytes]) -> tuple[list[Any], list[int]]:
    """Return an event for each element of each message (bytes: it is not an event), and the start of each message."""
    events: list[Any] = []
    starts = []
    for body in bodies:
        starts.append(len(events))
        try:
            events += _decode_array(body)
        except _NOT_SO:
            events += map(_event_or_bytes, _elements(body))
    return events, starts


def _event_or_bytes(element: bytes) -> Any:
    try:
        return _decode_event(element)
    except _NOT_SO:
        return element


def _element(bodies: Sequence[bytes], starts: Sequence[int], i: int) -> bytes:
    """Return the text of the i-th event over all messages."""
    body = bisect_right(starts, i) - 1
    return _elements(bodies[body])[i - starts[body]]


def _elements(body: bytes) -> list[bytes]:
    """Return the text of each element of an array; anything else as one element."""
    try:
        return [bytes(element) for element in _decode_raw(body)]
    except _NOT_SO:
        pass
    try:  # lone surrogates and NaN: the other elements are still valid
        message = json.loads(body.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return [body]
    return [json.dumps(element).encode() for element in message] if isinstance(message, list) else [body]


# -- columns --------------------------------------------------------------------------------------------------------


class _Readers:
    """Reads all events of one kind in one step. unknown: conditions that are not in the table."""

    def __init__(self, rules: TRADE_RULES) -> None:
        self.unknown: set[Hashable] = set()
        self._rules = rules

    def columns_of(self, kind: type[_Event], events: Sequence[Any]) -> _Columns:
        """Return events as columns, and a mask of the valid ticks."""
        if kind is _Trade:
            return self._trades(events)
        return _quotes(events) if kind is _Quote else _aggregates(events, whole_minute=kind is _Minute)

    def _trades(self, trades: Sequence[_Trade]) -> _Columns:
        price = np.array([trade.p for trade in trades], "<f8")
        size = _sizes([trade.s for trade in trades], [trade.ds for trade in trades])
        ticks, sound = _columns([trade.sym for trade in trades], [trade.t for trade in trades], price, size)
        conditions = [trade.c or () for trade in trades]
        told = optional_columns(
            exchanges=[trade.x for trade in trades],
            ids=[trade.i for trade in trades],
            facilities=[trade.trfi or 0 for trade in trades],
            conditions=conditions,
            ts=ticks.ts,
            rules=self._rules,
        )
        if self._rules == "sip":
            self.unknown |= unknown_of(set(conditions))
        return replace(ticks, optional=told.columns, notes=told.notes), sound


def _aggregates(rows: Sequence[_Second], *, whole_minute: bool) -> _Columns:
    """Read seconds or minutes by the rules of aggregate_row; rows that it would refuse are marked as not valid."""
    size = _sizes([row.v for row in rows], [row.dv for row in rows])
    ticks, sound = _columns(
        [row.sym for row in rows], [row.s for row in rows], np.array([row.c for row in rows], "<f8"), size
    )
    close = ticks.price
    told = np.array([(row.o, row.h, row.l, row.vw) for row in rows], "<f8").T
    sound &= ~(told[1] < told[2]) | (size == 0)
    told = np.where(np.isnan(told) | (size == 0), close, told)
    sound &= ((told > 0) & (told < MAX_PRICE)).all(axis=0) | (size == 0)
    first, high, low, vwap = told
    high, low = np.maximum(np.maximum(high, first), close), np.minimum(np.minimum(low, first), close)
    vwap = np.maximum(np.minimum(vwap, high), low)
    optional: dict[str, Column] = {"open": first, "high": high, "low": low, "vwap": vwap}
    if whole_minute:
        optional["whole_minute"] = np.ones(len(rows), OPTIONAL_COLUMNS["whole_minute"])
    return replace(ticks, optional=optional), sound


def _quotes(quotes: Sequence[_Quote]) -> _Columns:
    nothing = np.zeros(len(quotes))
    return _columns([quote.sym for quote in quotes], [quote.t for quote in quotes], nothing, nothing)


def _columns(symbols: Sequence[str], at_ms: Sequence[int], price: Column, size: Column) -> _Columns:
    distinct = list(dict.fromkeys(symbols))
    table, codes_of_distinct = symbol_table(distinct)
    code_of = dict(zip(distinct, codes_of_distinct, strict=True))
    codes = np.array([code_of[symbol] for symbol in symbols], "<i4")
    ms = np.array(at_ms, "<i8")
    # Times in other units than ms are left to the slow reader, which finds the unit by size.
    ts = np.where((ms >= _MIN_MS) & (ms < _MAX_MS), ms, 0) * _MS_NS
    sound, price = sound_rows(codes, ts, price, size)
    return Ticks(table, codes, ts, price, size), sound


def _sizes(numbers: Sequence[float], decimals: Sequence[str | None]) -> Column:
    size = np.array(numbers, "<f8")
    told = [text.encode() for text in decimals if text is not None]
    if told:
        size[[text is not None for text in decimals]] = number_column(told)
    return size


def _read_alone(element: bytes, rules: TRADE_RULES) -> Ticks:
    """Read one element as any JSON tick: a row, or a refusal with its reason."""
    # An array inside the array is not a message.
    ticks = parse_json(b"[" + element + b"]" if element[:1] == b"[" else element, rules=rules)
    return replace(ticks, refused=[row._replace(original=element[:MAX_BODY_BYTES]) for row in ticks.refused])
