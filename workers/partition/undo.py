"""Cancels and corrections: find the trade among the ticks that the stream still holds. Pure.

A bar does not store its trades, but all of them are needed to undo a high. The stream keeps them for a time after the
commit (`--retention-s`): the bar is made again from the stream, without the trade. If the undo came before its trade,
it waits (partition/early_undos.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ...contracts.bar import BAR_DTYPE, MINUTE_NS, Bars
from ...contracts.errors import BadFrame
from ...contracts.frames import frame as frames
from ...contracts.partition import Position
from ...contracts.spellings.original import originals
from ...contracts.spellings.tick_values import TickRow, ticks_of_rows
from ...contracts.spellings.undo import UNDOES
from ...contracts.ticks import OPTIONAL_COLUMNS, Column, Mask, Refused, Ticks, concat
from .bar_book import bars_of, empty_bars
from .frame_order import Arrival, FrameOrder
from .tick_check import MS_NS, REVISION_WINDOW_NS, Limits, check, row_arrivals

CANCEL, CORRECT = UNDOES["cancel"], UNDOES["correct"]
NO_TRADE = "no such trade in what the stream keeps (--retention-s), nor in 15 minutes since, or it was taken back"
TRIMMED = "its minute is older than what the stream keeps (--retention-s)"
REPLACED = "a repair or a replay has made its minute, in which no single trade can be taken back"
UNDO_WAIT_MS = REVISION_WINDOW_NS // MS_NS  # an undo waits this time for its trade: a later one is refused as too late
_EXTREMES_OF_A_TICK = ("open", "high", "low", "vwap")


class Undo(NamedTuple):
    """One trade to undo. price, size: the corrected values, 0 for a cancel.

    facility: who reported the trade; 0: any. note: the parts of its name that have no column (contracts.trade_note).
    """

    symbol: str
    trade_key: int
    undoes: int
    price: float
    size: float
    facility: int = 0
    note: str = ""


class Found(NamedTuple):
    """An undo, and the minute of its trade; None if the trade was not found, or cannot be taken back.

    too_late: the trade exists, but an earlier undo took it back.
    """

    undo: Undo
    minute: int | None
    too_late: bool = False


def is_undo(ticks: Ticks) -> Mask:
    """Return a mask of the rows that are cancels or corrections."""
    if "undoes" not in ticks.optional:
        return np.zeros(len(ticks), bool)
    return np.asarray(ticks.optional["undoes"] != 0)


def undos_of(ticks: Ticks) -> list[Undo]:
    """Return the cancels and corrections among these ticks, in their order."""
    rows = ticks.take(is_undo(ticks))
    if not len(rows):
        return []
    none = np.zeros(len(rows), OPTIONAL_COLUMNS["note"])
    named = (rows.optional["trade_key"], rows.optional["undoes"], rows.price, rows.size)
    others = (rows.optional.get("facility", none), rows.optional.get("note", none))
    columns = [column.tolist() for column in (rows.symbol_index, *named, *others)]
    notes = ["", *rows.notes]
    return [
        Undo(rows.symbols[code], key, undoes, price, size, facility, notes[note])
        for code, key, undoes, price, size, facility, note in zip(*columns, strict=True)
    ]


def take_back(ticks: Ticks, arrived_ms: Column | None = None) -> tuple[Ticks, list[Found]]:
    """Carry out the undos among some ticks, in their order; return the other ticks, and what each undo found.

    An undo takes the last trade of its name before it; if none came before, the first that arrives while it waits.
    Each trade is taken back once. arrived_ms: (n,) Unix ms of each row's arrival; None: all at once.
    """
    undoes = is_undo(ticks)
    rows = np.flatnonzero(undoes)
    if not len(rows):
        return ticks, []
    arrived_ms = np.zeros(len(ticks), np.int64) if arrived_ms is None else arrived_ms
    named = _trades_by_name(ticks, undoes)
    corrections: dict[int, Undo] = {}
    gone, found = np.zeros(len(ticks), bool), []
    for row, undo in zip(rows.tolist(), undos_of(ticks), strict=True):
        trades = named.get((int(ticks.symbol_index[row]), undo.trade_key))
        was_there, place = (False, None) if trades is None else trades.find(row, undo.facility, gone, arrived_ms)
        if place is None:
            found.append(Found(undo, None, was_there))
            continue
        found.append(Found(undo, int(ticks.ts[place]) // MINUTE_NS))
        if undo.undoes == CANCEL:
            gone[place] = True
        else:
            corrections[place] = undo
    return with_corrections(ticks, corrections).take(~(gone | undoes)), found


class _TradesOfName:
    """The trades of one symbol and key. Call `find` in the order of the rows: then no call scans all trades.

    By the reporting facility (0: all of them), in the order of their rows: _rows, the trades. _passed, how many of them
    are before the last undo. _stack, those of the passed ones that were not taken back yet. _later, the trades from
    which an undo that waits for its trade takes one.
    """

    def __init__(self) -> None:
        self._rows: dict[int, list[int]] = {0: []}
        self._passed: dict[int, int] = {}
        self._stack: dict[int, list[int]] = {}
        self._later: dict[int, Column] = {}

    def add(self, row: int, facility: int) -> None:
        self._rows[0].append(row)
        if facility:
            self._rows.setdefault(facility, []).append(row)

    def find(self, row: int, facility: int, gone: Mask, arrived_ms: Column) -> tuple[bool, int | None]:
        """Return whether there was a trade before this row, and the row of the trade to take back, or None."""
        rows, passed = self._rows.get(facility, []), self._passed.get(facility, 0)
        stack = self._stack.setdefault(facility, [])
        while passed < len(rows) and rows[passed] < row:
            stack.append(rows[passed])
            passed += 1
        self._passed[facility] = passed
        while stack and gone[stack[-1]]:
            stack.pop()
        if passed:
            return True, stack[-1] if stack else None
        return False, self._first_later(facility, gone, int(arrived_ms[row]) + UNDO_WAIT_MS, arrived_ms)

    def _first_later(self, facility: int, gone: Mask, until_ms: int, arrived_ms: Column) -> int | None:
        """Return the first trade that is not taken back and arrived in time: usually the very first."""
        later = self._later.get(facility)
        if later is None:
            later = np.array(self._rows.get(facility, []), np.int64)
        begins = 0
        while begins < len(later) and gone[later[begins]]:
            begins += 1
        self._later[facility] = later = later[begins:]
        for some in (later[:1], later[1:]):
            meant = some[~gone[some] & (arrived_ms[some] <= until_ms)]
            if len(meant):
                return int(meant[0])
        return None


def _trades_by_name(ticks: Ticks, undoes: Mask) -> dict[tuple[int, int], _TradesOfName]:
    """Return the trades whose key some undo has, by symbol index and key."""
    keys = ticks.optional["trade_key"]
    rows = np.flatnonzero(~undoes & np.isin(keys, keys[undoes]))
    none = np.zeros(len(ticks), OPTIONAL_COLUMNS["facility"])
    facility = ticks.optional.get("facility", none)[rows].tolist()
    named: dict[tuple[int, int], _TradesOfName] = {}
    for row, code, key, who in zip(
        rows.tolist(), ticks.symbol_index[rows].tolist(), keys[rows].tolist(), facility, strict=True
    ):
        named.setdefault((code, key), _TradesOfName()).add(row, who)
    return named


def with_corrections(ticks: Ticks, corrections: Mapping[int, Undo]) -> Ticks:
    """Return ticks with corrected prices and sizes. corrections: by row."""
    if not corrections:
        return ticks
    columns = {"price": ticks.price, "size": ticks.size, **ticks.optional}
    rows = list(corrections)
    prices, sizes = ([getattr(undo, name) for undo in corrections.values()] for name in ("price", "size"))
    for name, values in {"size": sizes, **dict.fromkeys(("price", *_EXTREMES_OF_A_TICK), prices)}.items():
        if name in columns:
            columns[name] = columns[name].copy()
            columns[name][rows] = values
    price, size = columns.pop("price"), columns.pop("size")
    return replace(ticks, price=price, size=size, optional=columns)


class Past(NamedTuple):
    """The ticks of a feed in a partition's stream. first_ms: ticks before it may be missing; 0: none is missing.

    arrived_ms: (n,) when each tick arrived, Unix ms.
    """

    ticks: Ticks
    first_ms: int
    arrived_ms: Column


def read_past(
    entries: Iterable[tuple[bytes, bytes]],
    feed: str,
    symbols: frozenset[str],
    applied: dict[str, int],
    limits: Limits,
) -> Past:
    """Read a feed's ticks of some symbols again, each number once and in order.

    entries: (id, frame bytes) of the stream, oldest first. applied: by producer of the feed, the last applied number;
    if a producer's frames are all gone, its ticks are missing.
    """
    seen = [arrival for arrival in _frames(entries) if arrival.frame.feed == feed]
    first: dict[str, int] = {}  # by producer; its first frame may come later in the stream, when Redis refused it once
    for frame in (arrival.frame for arrival in seen):
        first[frame.producer] = min(frame.previous, first.get(frame.producer, frame.previous))
    flows = {producer: FrameOrder(feed, number) for producer, number in first.items()}
    whole = all(name in flows and flows[name].number == 0 for name, number in applied.items() if number)
    ordered = _in_order([a for a in seen if a.frame.last <= applied.get(a.frame.producer, 0)], flows)
    chosen = [a for a in ordered if not symbols.isdisjoint(a.frame.symbols)]
    batches = [_timely(a, symbols, limits) for a in chosen]
    first_ms = 0 if whole or not seen else seen[0].position.ms - _delay_ms(seen)
    return Past(concat(batches), first_ms, arrived_ms(chosen, batches))


def arrived_ms(arrivals: Sequence[Arrival], batches: Sequence[Ticks]) -> Column:
    """Return when each row of some frames arrived, Unix ms by Redis's clock; a second read gives the same."""
    stamps = [min(a.position.ms, a.frame.born_ms) for a in arrivals]
    return np.repeat(np.array(stamps, np.int64), [len(batch) for batch in batches])


def _delay_ms(seen: Sequence[Arrival]) -> int:
    """Return the shortest delay of a feed's trades behind the market."""
    trades = (a.frame for a in seen if a.frame.count and "undoes" not in a.frame.columns)
    return min((frame.delay_ms for frame in trades), default=0)


def _frames(entries: Iterable[tuple[bytes, bytes]]) -> Iterable[Arrival]:
    for entry_id, body in entries:
        try:
            yield Arrival(frames.decode(body), Position.parse(entry_id))
        except BadFrame:
            continue  # it is in the dead letters


def _in_order(seen: Sequence[Arrival], flows: dict[str, FrameOrder]) -> Iterable[Arrival]:
    for arrival in seen:
        try:
            yield from flows[arrival.frame.producer].accept(arrival)
        except BadFrame:
            continue  # it is in the dead letters
    for flow in flows.values():
        while flow.held:
            yield from flow.give_up()[1]


def _timely(arrival: Arrival, symbols: frozenset[str], limits: Limits) -> Ticks:
    """Return the trades of some symbols that a frame brought to the bars, and its undos of such trades."""
    try:
        ticks = frames.ticks_of(arrival.frame)
    except BadFrame:
        return Ticks.empty()  # it is in the dead letters
    ticks = _of_symbols(ticks, symbols)
    if arrival.above:
        ticks = ticks.take(ticks.optional["row_id"] > arrival.above)
    if "whole_minute" in ticks.optional:
        ticks = ticks.take(ticks.optional["whole_minute"] == 0)  # those are bars of their own
    undoes = is_undo(ticks)
    trades = ticks.take(~undoes)
    checked = check(trades, row_arrivals([arrival], [trades]), limits).ticks
    if not undoes.any():
        return checked
    both = concat([checked, ticks.take(undoes)])
    return both.take(np.argsort(both.optional["row_id"], kind="stable")) if "row_id" in both.optional else both


def _of_symbols(ticks: Ticks, symbols: AbstractSet[str]) -> Ticks:
    kept = [code for code, symbol in enumerate(ticks.symbols) if symbol in symbols]
    renumber = np.full(len(ticks.symbols), -1, "<i4")
    renumber[kept] = np.arange(len(kept))
    codes = renumber[ticks.symbol_index]
    of_them = replace(ticks, symbols=[ticks.symbols[code] for code in kept], symbol_index=codes)
    return of_them.take(codes >= 0)


def bars_again(ticks: Ticks, codes: dict[str, int], wanted: Iterable[tuple[str, int]]) -> Bars:
    """Make the bars of some (symbol, minute) from all their ticks; a bar without any tick left is empty.

    codes: the index of each symbol in the partition. Returns them sorted.
    """
    wanted = set(wanted)
    ticks = _of_symbols(ticks, {symbol for symbol, _ in wanted})  # others may be unknown here
    code_of = np.array([codes[symbol] for symbol in ticks.symbols], "<i4")
    bars = bars_of(ticks, code_of[ticks.symbol_index]) if len(ticks) else np.empty(0, BAR_DTYPE)
    rows = []
    for code, minute in sorted((codes[symbol], minute) for symbol, minute in wanted):
        here = bars[(bars["symbol"] == code) & (bars["minute"] == minute)]
        rows.append(here if len(here) else empty_bars([(code, minute)]))
    return np.concatenate(rows)


def refused_undo(undo: Undo, ts: int, why: str) -> Refused:
    """Return the dead letter of an undo that cannot be carried out. ts: the undo's own time, Unix ns."""
    row = TickRow(
        undo.symbol, ts, undo.price, undo.size, trade_key=undo.trade_key, undoes=undo.undoes, facility=undo.facility,
        note=undo.note,
    )  # fmt: skip
    return Refused("cannot_undo", why, originals(ticks_of_rows([row]))[0])
