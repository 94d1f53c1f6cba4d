"""What a trade said of itself beside its columns, as a JSON object's text: its `note`, kept for dead letters. Pure.

The columns hold an exchange, a trade id and a facility that are small numbers; conditions, and every name that a column
holds as a hash, stand in the note as they came.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ticks import OPTIONAL_COLUMNS, Column
from .trade_key import NO_KEY, facility_of, is_hashed, names_of_key

EXCHANGE, TRADE_ID, FACILITY, CONDITIONS = "exchange", "trade_id", "trf_id", "conditions"
_NAMES = {EXCHANGE, TRADE_ID, FACILITY, CONDITIONS}
_MAX_NOTE_LENGTH = 4096  # what is longer is no name of a trade


def note_of(
    *, conditions: Sequence[object] = (), key: int = NO_KEY, exchange: object = "", trade_id: object = "",
    facility: object = "",
) -> str:  # fmt: skip
    """Return a trade's note, empty where its columns hold all that it said. key: of the exchange and the trade id."""
    said: dict[str, Any] = {}
    if key != NO_KEY and names_of_key(key) is None:
        said |= {EXCHANGE: exchange, TRADE_ID: trade_id}
    if isinstance(facility, str) and is_hashed(facility_of(facility)):
        said[FACILITY] = facility
    if conditions:
        said[CONDITIONS] = list(conditions)
    text = json.dumps(said) if said else ""
    return text if len(text) <= _MAX_NOTE_LENGTH else ""


def said_of(key: int, facility: int, note: str) -> dict[str, Any]:
    """Return what a trade said of itself, by the names that the front door reads."""
    said: dict[str, Any] = {}
    if names := names_of_key(key):
        said = {EXCHANGE: names[0], TRADE_ID: names[1]}
    if facility and not is_hashed(facility):
        said[FACILITY] = facility
    return said | (_said_in(note) if note else {})


def _said_in(note: str) -> dict[str, Any]:
    """Read a note; one that no program of ours wrote is told as it is."""
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
    """Lay the notes of some rows out as a column and a list of texts; nothing where no row has one."""
    places: dict[str, int] = {}
    column = [places.setdefault(note, len(places) + 1) if note else 0 for note in notes]
    if not places:
        return {}, ()
    return {"note": np.array(column, OPTIONAL_COLUMNS["note"])}, tuple(places)
