"""The ids and conditions of many trades -> columns: keys, facilities, flags, and notes for the rest. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..ticks import OPTIONAL_COLUMNS, SETS_ALL, Column
from .trade_conditions import TRADE_RULES, Conditions, flags_column
from .trade_key import NO_KEY, facility_of, is_hashed, trade_keys
from .trade_note import note_of

Names = Sequence[int | str]


class OptionalColumns(NamedTuple):
    """Columns for Ticks.optional (only those with a value), and the notes that `note` points to."""

    columns: dict[str, Column]
    notes: tuple[str, ...]


def optional_columns(
    *, exchanges: Names, ids: Sequence[str], facilities: Names, conditions: Sequence[Conditions], ts: Column,
    rules: TRADE_RULES,
) -> OptionalColumns:  # fmt: skip
    """Return the ids and conditions of trades as columns.

    An empty list: no trade has this value. ts: (n,) int64, Unix ns.
    """
    columns: dict[str, Column] = {}
    keys = trade_keys(exchanges or [0] * len(ids), ids) if ids else np.empty(0, np.int64)
    if (keys != NO_KEY).any():
        columns["trade_key"] = keys
    reporters = facility_column(facilities)
    if reporters.any():
        columns["facility"] = reporters
    combinations = list(dict.fromkeys(conditions))
    places = {told: place for place, told in enumerate(combinations)}
    codes = np.fromiter(map(places.__getitem__, conditions), "<i4", len(conditions))
    if rules == "sip" and combinations:
        flags = flags_column(codes, combinations, ts)
        if (flags != SETS_ALL).any():
            columns["flags"] = flags
    note, notes = _notes(keys, exchanges, ids, facilities, codes, combinations, len(ts))
    if notes:
        columns["note"] = note
    return OptionalColumns(columns, notes)


def facility_column(facilities: Names) -> Column:
    """Return the reporting facility of each trade, (n,) u4."""
    numbers = {name: facility_of(name) for name in set(facilities)}
    return np.fromiter(map(numbers.__getitem__, facilities), OPTIONAL_COLUMNS["facility"], len(facilities))


def _notes(
    keys: Column, exchanges: Names, ids: Sequence[str], facilities: Names, codes: Column,
    combinations: Sequence[Conditions], count: int,
) -> tuple[Column, tuple[str, ...]]:  # fmt: skip
    """Make a note for each combination of conditions, and for each trade with a hashed id."""
    places = {"": 0}
    of_combination = [places.setdefault(note_of(conditions=told), len(places)) for told in combinations]
    note = np.array(of_combination or [0], OPTIONAL_COLUMNS["note"])[codes if len(codes) else np.zeros(count, np.intp)]
    for row in sorted(_hashed_rows(keys, facilities)):
        text = note_of(
            conditions=combinations[codes[row]] if len(codes) else (),
            key=int(keys[row]) if len(keys) else NO_KEY,
            exchange=exchanges[row] if exchanges else "",
            trade_id=ids[row] if ids else "",
            facility=facilities[row] if facilities else "",
        )
        note[row] = places.setdefault(text, len(places))
    return note, tuple(places)[1:]


def _hashed_rows(keys: Column, facilities: Names) -> set[int]:
    """Return the rows with a hash in a column; few feeds have any."""
    texts = {name for name in set(facilities) if is_hashed(facility_of(name))}
    rows = {row for row, name in enumerate(facilities) if name in texts} if texts else set()
    return rows | set(np.flatnonzero(keys < 0).tolist())
