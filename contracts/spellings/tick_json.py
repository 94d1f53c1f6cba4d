"""Every format of a tick that others send us -> Ticks, or a Refused with its reason.

The JSON of the application's channels and of Massive, and the entries of the front door, plain or with JSON. Pure.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, NoReturn

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..ticks import MAX_BODY_BYTES, MIN_TS_NS, OPTIONAL_COLUMNS, SETS_ALL, Refused, Ticks, concat
from .aggregate import aggregate_row
from .plain_fields import columns_of_fields, is_plain, row_of_fields
from .tick_values import NotATick, TickRow, either, price_with_size, shown, size_of, symbol_of, ticks_of_rows
from .timestamps import SECOND_NS, timestamp_of
from .trade_conditions import DEFAULT_RULES, TRADE_RULES, conditions_of_json, flags_of
from .undo import UNDOES, undo_of, with_names

SecondStamp = Literal["end", "start"]  # meaning of a time on a whole second, for a tick without a kind
DEFAULT_SECOND_STAMP: SecondStamp = "end"  # as the application stamps its seconds
Entry = tuple[int, Sequence[bytes]]  # (row id, [name, value, name, value ...])

_FEW = 16  # up to this many entries are read one by one, which is faster than as columns
_ELEMENT_NAMES = ("symbol", "ticker", "price")  # an object with one of these is meant as a tick
_Object = Mapping[str, Any]
_Reader = Callable[[_Object, TRADE_RULES], TickRow | None]


class _How(NamedTuple):
    """What the caller knows about a message."""

    second_stamp: SecondStamp
    rules: TRADE_RULES = DEFAULT_RULES
    row_id: int = 0


def parse_json(
    body: bytes,
    *,
    row_id: int = 0,
    second_stamp: SecondStamp = DEFAULT_SECOND_STAMP,
    rules: TRADE_RULES = DEFAULT_RULES,
) -> Ticks:
    """Read one message: an object or an array of objects. `row_id` is used for refused rows; it is not a column here.

    rules: sip: the conditions of a trade decide which fields of its bar it sets.
    """
    rows: list[TickRow] = []
    refused: list[Refused] = []
    _read_body(body, _How(second_stamp, rules, row_id), rows, refused)
    return ticks_of_rows(rows, refused)


def parse_bodies(
    bodies: Iterable[bytes], *, second_stamp: SecondStamp = DEFAULT_SECOND_STAMP, rules: TRADE_RULES = DEFAULT_RULES
) -> Ticks:
    """Read messages as parse_json does, in order, into one batch."""
    rows: list[TickRow] = []
    refused: list[Refused] = []
    how = _How(second_stamp, rules)
    for body in bodies:
        _read_body(body, how, rows, refused)
    return ticks_of_rows(rows, refused)


def parse_entries(
    entries: Sequence[Entry], *, second_stamp: SecondStamp = DEFAULT_SECOND_STAMP, rules: TRADE_RULES = DEFAULT_RULES
) -> Ticks:
    """Read entries of the front door, in order. The column `row_id` always exists: the id of each row's entry."""
    how = _How(second_stamp, rules)
    parts: list[tuple[NDArray[np.intp], Ticks]] = []
    odd: list[int] = []
    for names, members in _by_names(entries).items():
        columns = None
        if len(members) >= _FEW:
            columns = columns_of_fields(names, [entries[i][1] for i in members], rules)
        if columns is None:
            odd += members
            continue
        ticks, sound = columns
        where = np.array(members)
        parts.append((where[sound], ticks))
        odd += where[~sound].tolist()
    parts.append(_read_one_by_one(entries, sorted(odd), how))
    return _joined(parts, np.fromiter((row_id for row_id, _ in entries), "<i8", len(entries)))


def _by_names(entries: Sequence[Entry]) -> dict[tuple[bytes, ...], list[int]]:
    members: dict[tuple[bytes, ...], list[int]] = {}
    for i, (_, fields) in enumerate(entries):
        # Fields with a name but no value form a group of their own, which the slow reader refuses.
        names = tuple(fields[::2]) if len(fields) % 2 == 0 else ()
        if names in members:
            members[names].append(i)
        else:
            members[names] = [i]
    return members


def _read_one_by_one(entries: Sequence[Entry], chosen: Sequence[int], how: _How) -> tuple[NDArray[np.intp], Ticks]:
    rows: list[TickRow] = []
    refused: list[Refused] = []
    where: list[int] = []
    for i in chosen:
        row_id, fields = entries[i]
        _read_entry(fields, how._replace(row_id=row_id), rows, refused)
        where += [i] * (len(rows) - len(where))
    return np.array(where, np.intp), ticks_of_rows(rows, refused)


def _joined(parts: Sequence[tuple[NDArray[np.intp], Ticks]], row_ids: NDArray[np.int64]) -> Ticks:
    """Put the rows of all parts in the order of their entries, and add the ids."""
    filled = [(where, ticks) for where, ticks in parts if len(where) or ticks.refused]
    if not filled:
        return _with_row_ids(Ticks.empty(), row_ids[:0])
    ticks = concat(ticks for _, ticks in filled)
    where = np.concatenate([where for where, _ in filled])
    if len(filled) > 1:
        order = np.argsort(where, kind="stable")
        where, ticks = where[order], ticks.take(order, ticks.refused)
    return _with_row_ids(ticks, row_ids[where])


def _with_row_ids(ticks: Ticks, row_ids: NDArray[np.int64]) -> Ticks:
    optional = {**ticks.optional, "row_id": row_ids.astype(OPTIONAL_COLUMNS["row_id"], copy=False)}
    return replace(ticks, optional=optional)


def _read_entry(fields: Sequence[bytes], how: _How, rows: list[TickRow], refused: list[Refused]) -> None:
    named = dict(zip(fields[::2], fields[1::2], strict=False))
    if b"data" in named and not is_plain(named):
        _read_body(named[b"data"], how, rows, refused)
        return
    try:
        rows.append(_plain_row(fields, named, how))
    except NotATick as e:
        refused.append(Refused(e.reason, e.detail, b" ".join(fields)[:MAX_BODY_BYTES], how.row_id))


def _plain_row(fields: Sequence[bytes], named: Mapping[bytes, bytes], how: _How) -> TickRow:
    size = sum(map(len, fields))
    if size > MAX_BODY_BYTES:
        raise NotATick("too_large", f"{size} bytes")
    if len(fields) % 2 or not is_plain(named):
        raise NotATick("unknown_shape", f"no tick has the fields {shown(b' '.join(named))}")
    return row_of_fields(named, how.rules, row_id=how.row_id)


def _read_body(body: bytes, how: _How, rows: list[TickRow], refused: list[Refused]) -> None:
    try:
        message = _decode(body)
        if not isinstance(message, list):
            row = _row_of(message, how)
            if row is not None:
                rows.append(row)
            return
    except NotATick as e:
        refused.append(Refused(e.reason, e.detail, body[:MAX_BODY_BYTES], how.row_id))
        return
    for place, element in enumerate(message, 1):
        try:
            row = _row_of(element, how)
            if row is not None:
                rows.append(row)
        except NotATick as e:
            detail = f"element {place} of {len(message)}: {e.detail}"
            refused.append(Refused(e.reason, detail, _spelled(element, body), how.row_id))


def _spelled(element: Any, body: bytes) -> bytes:
    """Encode a refused element alone: the whole array once per bad element could be megabytes."""
    try:
        return json.dumps(element).encode()[:MAX_BODY_BYTES]
    except RecursionError:
        return body[:MAX_BODY_BYTES]


def _decode(body: bytes) -> Any:
    if len(body) > MAX_BODY_BYTES:
        raise NotATick("too_large", f"{len(body)} bytes")
    try:
        return msgspec.json.decode(body)
    except RecursionError as e:
        raise NotATick("not_json", "nested too deeply") from e
    except ValueError as e:
        return _decode_leniently(body, str(e))


def _decode_leniently(body: bytes, complaint: str) -> Any:
    """Read JSON that msgspec refuses although its grammar is valid: lone surrogates, invalid UTF-8, 1e400.

    A field with such a value is refused by its own check, with its reason; fields that we do not read may hold it.
    """
    try:
        return json.loads(body.decode("utf-8", "surrogateescape"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as e:
        raise NotATick("not_json", complaint) from e


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _row_of(message: Any, how: _How) -> TickRow | None:
    """Read one object; None if it is a harmless message that is not a tick."""
    if not isinstance(message, dict):
        raise NotATick("not_an_object", f"not a JSON object: {shown(message)}")
    if "ev" in message:
        return _massive_row(message, how.rules)
    kind = message.get("event_type")
    if kind is None:
        kind = message.get("type")
    if kind in ("market_tick", "tick_data"):
        return _untold_tick(message, how)
    if isinstance(kind, str) and kind in UNDOES:
        return undo_of(kind, message, how.row_id)
    if kind is not None:
        return _read_as(message, kind, how.rules, _APPLICATION_EVENTS)
    if any(name in message for name in _ELEMENT_NAMES):
        return _trade(message, how.rules)
    if "test" in message:
        return None  # the application's probes: permission_check, health_check
    raise NotATick("unknown_shape", f"no tick has the keys {shown(' '.join(message))}")


def _massive_row(message: _Object, rules: TRADE_RULES) -> TickRow | None:
    return _read_as(message, message["ev"], rules, _MASSIVE_EVENTS)


def _read_as(message: _Object, kind: Any, rules: TRADE_RULES, readers: Mapping[str, _Reader]) -> TickRow | None:
    if not isinstance(kind, str) or kind not in readers:
        raise NotATick("unknown_shape", f"unknown kind of event: {shown(kind)}")
    return readers[kind](message, rules)


def _trade(message: _Object, rules: TRADE_RULES) -> TickRow:
    """Read a trade of the application, or an object without a kind. Its time is exact, as with plain fields."""
    return _tick_at(message, rules, timestamp_of)


def _untold_tick(message: _Object, how: _How) -> TickRow:
    """Read a tick of a format that has both trades and seconds, without a field for the kind."""
    return _tick_at(message, how.rules, timestamp_of if how.second_stamp == "start" else _inside_second)


def _tick_at(message: _Object, rules: TRADE_RULES, time_of: Callable[[Any], int]) -> TickRow:
    symbol = symbol_of(either(message, "symbol", "ticker"))
    size = size_of(either(message, "volume", "size"))
    price = price_with_size(message.get("price"), size)
    row = TickRow(symbol, time_of(message.get("timestamp")), price, size)
    names = ("exchange", "trade_id", "trf_id", "conditions")
    return _as_said(row, rules, *(message.get(name) for name in names))


def _as_said(
    row: TickRow, rules: TRADE_RULES, exchange: object, trade_id: object, facility: object, conditions: object
) -> TickRow:
    """Return a trade with its ids, and with the flags that its conditions allow."""
    if exchange is trade_id is facility is conditions is None:
        return row
    told = conditions_of_json(conditions)
    flags = flags_of(told, row.ts) if rules == "sip" else SETS_ALL
    return with_names(row._replace(flags=flags), exchange, trade_id, facility, conditions=told)


def _application_second(message: _Object, _: TRADE_RULES) -> TickRow:
    return aggregate_row(
        symbol_of(either(message, "symbol", "ticker")),
        _inside_second(message.get("timestamp")),
        size_of(either(message, "tick_volume", "volume", "size")),
        either(message, "tick_close", "price"),
        [message.get(name) for name in ("tick_open", "tick_high", "tick_low", "tick_vwap")],
    )


def _application_quote(message: _Object, _: TRADE_RULES) -> TickRow:
    return TickRow(symbol_of(either(message, "symbol", "ticker")), timestamp_of(message.get("timestamp")), 0.0, 0.0)


def _massive_trade(message: _Object, rules: TRADE_RULES) -> TickRow:
    symbol, size = symbol_of(message.get("sym")), size_of(either(message, "ds", "s"))
    ts, price = timestamp_of(message.get("t")), price_with_size(message.get("p"), size)
    return _as_said(TickRow(symbol, ts, price, size), rules, *(message.get(name) for name in ("x", "i", "trfi", "c")))


def _massive_second(message: _Object, _: TRADE_RULES) -> TickRow:
    return aggregate_row(
        symbol_of(message.get("sym")),
        timestamp_of(message.get("s")),
        size_of(either(message, "dv", "v")),
        message.get("c"),
        [message.get(name) for name in ("o", "h", "l", "vw")],
    )


def _massive_minute(message: _Object, rules: TRADE_RULES) -> TickRow:
    return _massive_second(message, rules)._replace(whole_minute=1)


def _massive_quote(message: _Object, _: TRADE_RULES) -> TickRow:
    return TickRow(symbol_of(message.get("sym")), timestamp_of(message.get("t")), 0.0, 0.0)


def _massive_status(_: _Object, __: TRADE_RULES) -> None:
    return None


_APPLICATION_EVENTS: Mapping[str, _Reader] = {
    "A": _application_second,
    "T": _trade,
    "trade": _trade,
    "Q": _application_quote,
}
_MASSIVE_EVENTS: Mapping[str, _Reader] = {
    "T": _massive_trade,
    "A": _massive_second,
    "AM": _massive_minute,
    "Q": _massive_quote,
    "status": _massive_status,
}


def _inside_second(stamp: Any) -> int:
    """Read a time; if it is on a whole second (the END of a second), move it inside that second."""
    ts = timestamp_of(stamp)
    inside = ts - 1 if ts % SECOND_NS == 0 else ts
    if inside < MIN_TS_NS:
        raise NotATick("timestamp", f"a second that ended at the start of 1990: {shown(stamp)}")
    return inside
