"""The ids and conditions of a trade that its columns cannot hold, as JSON text: its `note`, for dead letters. Pure.

The columns hold an exchange, a trade id and a facility that are small numbers. The note holds conditions, and every id
that a column holds as a hash, as received.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ticks import OPTIONAL_COLUMNS, Column
from .trade_key import NO_KEY, facility_of, is_hashed, names_of_key

EXCHANGE, TRADE_ID, FACILITY, CONDITIONS = "exchange", "trade_id", "trf_id", "conditions"
_NAMES = {EXCHANGE, TRADE_ID, FACILITY, CONDITIONS}
_MAX_NOTE_LENGTH = 4096  # longer texts are not ids of a trade


def note_of(
    *, conditions: Sequence[object] = (), key: int = NO_KEY, exchange: object = "", trade_id: object = "",
    facility: object = "",
) -> str:  # fmt: skip
    """Return a trade's note, empty if its columns hold everything. key: of the exchange and the trade id."""
    said: dict[str, Any] = {}
    if key != NO_KEY and names_of_key(key) is None:
        said |= {EXCHANGE: exchange, TRADE_ID: trade_id}
    if isinstance(facility, str) and is_hashed(facility_of(facility)):
        said[FACILITY] = facility
    if conditions:
        said[CONDITIONS] = list(conditions)
    text = json.dumps(said) if said else ""
    return text if len(text) <= _MAX_NOTE_LENGTH else ""


def trade_fields(key: int, facility: int, note: str) -> dict[str, Any]:
    """Return a trade's ids and conditions, by the names that the front door reads."""
    said: dict[str, Any] = {}
    if names := names_of_key(key):
        said = {EXCHANGE: names[0], TRADE_ID: names[1]}
    if facility and not is_hashed(facility):
        said[FACILITY] = facility
    return said | (_said_in(note) if note else {})


def _said_in(note: str) -> dict[str, Any]:
    """Read a note; one that our programs did not write is returned as text."""
    try:
        said = json.loads(note)
    except (ValueError, RecursionError):
        said = None
    if isinstance(said, dict) and said.keys() <= _NAMES and all(map(_is_flat, said.values())):
        return said
    return {"note": note}


def _is_flat(value: object) -> bool:
    parts = value if isinstance(value, list) else [value]
    return not any(isinstance(part, list | dict) for part in parts)


def note_columns(notes: Sequence[str]) -> tuple[dict[str, Column], tuple[str, ...]]:
    """Return the notes of rows as a column and a list of texts; both empty if no row has a note."""
    places: dict[str, int] = {}
    column = [places.setdefault(note, len(places) + 1) if note else 0 for note in notes]
    if not places:
        return {}, ()
    return {"note": np.array(column, OPTIONAL_COLUMNS["note"])}, tuple(places)
