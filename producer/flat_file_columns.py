"""The columns of a block of a flat file that the trade rules need: which fields each trade sets, and its key. Pure."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..contracts.flat_file import CONDITIONS, EXCHANGE, TRADE_ID, conditions_of_field, whole_text
from ..contracts.ticks import OPTIONAL_COLUMNS, SETS_ALL, Column
from ..contracts.trade_conditions import flags_column, unknown_of
from ..contracts.trade_key import NO_KEY, trade_keys

Read = Mapping[str, Any]  # by name: pyarrow arrays of n texts, conditions and exchange as dictionaries


def flags_of_block(read: Read, ts: Column, unknown: set[Hashable]) -> dict[str, Column]:
    """Return the column `flags`, none where every trade sets all; add the conditions that nobody knows to `unknown`."""
    combinations = [conditions_of_field(text) for text in read[CONDITIONS].dictionary.to_pylist()]
    unknown |= unknown_of(combinations)
    flags = flags_column(read[CONDITIONS].indices.to_numpy(), combinations, ts)
    return {} if (flags == SETS_ALL).all() else {"flags": flags}


def keys_of_block(read: Read) -> dict[str, Column]:
    """Return the column `trade_key`, none where no trade has an id."""
    if TRADE_ID not in read:
        return {}
    named = pc.not_equal(read[TRADE_ID], "").to_numpy(zero_copy_only=False)
    if not named.any():
        return {}
    ids = read[TRADE_ID].filter(pa.array(named))
    keys = np.full(len(named), NO_KEY, OPTIONAL_COLUMNS["trade_key"])
    keys[named] = trade_keys(_exchanges(read)[named], _numbers_or_texts(ids))
    return {"trade_key": keys}


def _exchanges(read: Read) -> Column:
    if EXCHANGE not in read:
        return np.zeros(len(read[TRADE_ID]), "<i8")
    distinct = _numbers_or_texts(read[EXCHANGE].dictionary)
    places: Column = read[EXCHANGE].indices.to_numpy()
    return distinct[places]


def _numbers_or_texts(texts: Any) -> Column:
    """Read decimal numbers at once; where a text is none, or none that fits, all stay texts."""
    if not pc.all(pc.ascii_is_decimal(texts)).as_py():
        texts = pa.array([whole_text(text) for text in texts.to_pylist()], pa.string())
    if pc.all(pc.ascii_is_decimal(texts)).as_py():
        try:
            return np.asarray(texts.cast(pa.int64()))
        except pa.ArrowInvalid:  # more than 19 digits
            pass
    return np.array(texts.to_pylist(), object)
