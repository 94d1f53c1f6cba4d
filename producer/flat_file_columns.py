"""The optional columns of a flat file's block: which fields of a bar each trade sets, and the trade's id. Pure."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..contracts.spellings.flat_file import (
    CONDITIONS,
    EXCHANGE,
    FACILITY,
    PRICE,
    TRADE_ID,
    conditions_of_field,
    whole_text,
)
from ..contracts.spellings.trade_columns import facility_column, optional_columns
from ..contracts.spellings.trade_conditions import flags_column, unknown_of
from ..contracts.spellings.trade_key import NO_KEY, trade_keys
from ..contracts.ticks import OPTIONAL_COLUMNS, SETS_ALL, Column

Read = Mapping[str, Any]  # by name: pyarrow arrays of n texts, conditions and exchange as dictionaries


def flags_of_block(read: Read, ts: Column, unknown: set[Hashable]) -> dict[str, Column]:
    """Return the column `flags`; no column if every trade sets all fields.

    Conditions that no table has are added to `unknown`.
    """
    combinations = [conditions_of_field(text) for text in read[CONDITIONS].dictionary.to_pylist()]
    unknown |= unknown_of(combinations)
    flags = flags_column(read[CONDITIONS].indices.to_numpy(), combinations, ts)
    return {} if (flags == SETS_ALL).all() else {"flags": flags}


def keys_of_block(read: Read) -> dict[str, Column]:
    """Return the columns `trade_key` and `facility`; no columns if no trade has an id."""
    if TRADE_ID not in read:
        return {}
    named = pc.not_equal(read[TRADE_ID], "").to_numpy(zero_copy_only=False)
    if not named.any():
        return {}
    ids = read[TRADE_ID] if named.all() else read[TRADE_ID].filter(pa.array(named))
    keys = np.full(len(named), NO_KEY, OPTIONAL_COLUMNS["trade_key"])
    keys[named] = trade_keys(_exchanges(read)[named], _numbers_or_texts(ids))
    facility = _facilities(read)
    return {"trade_key": keys, "facility": facility} if facility.any() else {"trade_key": keys}


def _exchanges(read: Read) -> Column:
    if EXCHANGE not in read:
        return np.zeros(len(read[TRADE_ID]), "<i8")
    distinct = _numbers_or_texts(read[EXCHANGE].dictionary)
    places: Column = read[EXCHANGE].indices.to_numpy()
    return distinct[places]


def _facilities(read: Read) -> Column:
    if FACILITY not in read:
        return np.zeros(len(read[TRADE_ID]), OPTIONAL_COLUMNS["facility"])
    distinct = facility_column([whole_text(text) for text in read[FACILITY].dictionary.to_pylist()])
    places: Column = read[FACILITY].indices.to_numpy()
    return distinct[places]


def notes_of_block(read: Read, rows: Column) -> tuple[dict[str, Column], tuple[str, ...]]:
    """Return the column `note` with its texts, for some rows: the other trades cannot become dead letters."""
    if not len(rows):
        return {}, ()
    rows_read = pa.array(rows)
    none = [""] * len(rows)
    exchanges, ids, facilities, conditions = (
        read[name].take(rows_read).to_pylist() if name in read else none
        for name in (EXCHANGE, TRADE_ID, FACILITY, CONDITIONS)
    )
    told = optional_columns(
        exchanges=exchanges, ids=ids, facilities=facilities, conditions=[conditions_of_field(c) for c in conditions],
        ts=np.zeros(len(rows), "<i8"), rules="all",
    )  # fmt: skip
    if not told.notes:
        return {}, ()
    note = np.zeros(len(read[PRICE]), OPTIONAL_COLUMNS["note"])
    note[rows] = told.columns["note"]
    return {"note": note}, told.notes


def _numbers_or_texts(texts: Any) -> Column:
    """Return texts as whole numbers; if one is not a whole number, or is too large, return all as texts."""
    if not pc.all(pc.ascii_is_decimal(texts)).as_py():
        texts = pa.array([whole_text(text) for text in texts.to_pylist()], pa.string())
    if pc.all(pc.ascii_is_decimal(texts)).as_py():
        try:
            return np.asarray(texts.cast(pa.int64()))
        except pa.ArrowInvalid:  # more than 19 digits
            pass
    return np.array(texts.to_pylist(), object)
