"""A trade's id among the trades of its symbol, as one number: the column `trade_key`. Pure.

By Massive's manual a trade's id is unique for its ticker, exchange and reporting facility. The facility is not in the
key, but in its own column: the plain `cancel` names only symbol, exchange and trade id, and must find the trade of
any feed.

An id of 0 can be cancelled, but does not identify a trade: programs write 0 if they have no id.
"""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from ..ticks import OPTIONAL_COLUMNS, Column

NO_KEY = 0  # the trade has no id: it cannot be cancelled

_EXCHANGES = 1 << 8
_IDS = 1 << 54  # ids below this fit into the bits above the exchange's 8 bits; the two highest bits stay 0
_TOP_BIT = 1 << 63
# these bits are clear in the hash of an id of 0; in other hashes only by chance, once in 4 billion
_LOW = (1 << 32) - 1
_FACILITY_IS_HASH = 1 << 31
_DTYPE = OPTIONAL_COLUMNS["trade_key"]


def trade_key(exchange: int | str, trade_id: str) -> int:
    """Return the key of a trade: an int64, never 0. It holds both numbers, or, negative, a hash of the texts.

    exchange: the feed's number or name of it, 0 if it has none. A number and its text give the same key; leading zeros
    and blanks are ignored, because feeds write numbers differently.
    """
    exchange, number = _number(exchange) or 0, _number(trade_id)
    if isinstance(exchange, int) and isinstance(number, int) and exchange < _EXCHANGES and number < _IDS:
        key = number << 8 | exchange
        if key != NO_KEY:
            return key
    hashed = _hash(f"{exchange}\0{number}", 8)
    return ((hashed & ~_LOW if number == 0 else hashed) | _TOP_BIT) - 2 * _TOP_BIT


def names_of_key(key: int) -> tuple[int, str] | None:
    """Return the exchange and the trade id in a key; None for a hash."""
    return (key & _EXCHANGES - 1, str(key >> 8)) if key > 0 else None


def is_unique(keys: Column) -> NDArray[np.bool_]:
    """Return a mask of the keys that identify one trade; keys: (n,) int64. False for NO_KEY and for an id of 0."""
    unique: NDArray[np.bool_] = (keys >= _EXCHANGES) | ((keys < 0) & ((keys & _LOW) != 0))
    return unique


def facility_of(name: int | str) -> int:
    """Return the reporting facility as a number of 32 bits: 0 if unknown, the number itself below 2^31, else a hash."""
    number = _number(name) or 0
    if isinstance(number, int) and number < _FACILITY_IS_HASH:
        return number
    return _hash(str(number), 4) | _FACILITY_IS_HASH


def is_hashed(facility: int) -> bool:
    """Tell whether a facility's number is a hash of its name."""
    return facility >= _FACILITY_IS_HASH


def _hash(text: str, size: int) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest())


def trade_keys(exchanges: Sequence[int | str] | Column, trade_ids: Sequence[str] | Column) -> NDArray[np.int64]:
    """Return the keys of many trades, (n,) int64; NO_KEY if the id is empty. Numbers are converted in one step."""
    keys = _keys_of_numbers(exchanges, trade_ids)
    if keys is not None:
        return keys
    named = zip(_listed(exchanges), _listed(trade_ids), strict=True)
    return np.fromiter((_key_or_none(*name) for name in named), _DTYPE, len(trade_ids))


def _key_or_none(exchange: int | str, trade_id: int | str) -> int:
    text = str(trade_id).strip()
    return trade_key(exchange, text) if text else NO_KEY


def _listed(values: Sequence[int | str] | Column) -> Sequence[int | str]:
    return values.tolist() if isinstance(values, np.ndarray) else values


def _number(text: int | str) -> int | str:
    """Read a plain decimal number; return any other text, and very long numbers, unchanged."""
    if isinstance(text, int):
        return text if text >= 0 else str(text)
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else text


def _keys_of_numbers(exchanges: Sequence[int | str] | Column, trade_ids: Sequence[str] | Column) -> Column | None:
    """Return the keys if all exchanges and ids are small numbers, else None."""
    exchange, number = _numbers(exchanges), _numbers(trade_ids)
    if exchange is None or number is None:
        return None
    if ((exchange < 0) | (exchange >= _EXCHANGES) | (number < 0) | (number >= _IDS)).any():
        return None
    keys = number << 8 | exchange
    return keys if keys.all() else None  # exchange 0 and id 0


def _numbers(values: Sequence[int | str] | Column) -> NDArray[np.int64] | None:
    if isinstance(values, np.ndarray) or not (values and isinstance(values[0], str)):
        numbers = np.asarray(values if len(values) else np.empty(0, _DTYPE))
        return numbers.astype(_DTYPE) if numbers.dtype.kind in "iu" else None
    try:
        digits = "".join(values)  # type: ignore[arg-type]  # a number among them raises TypeError
        # int alone would take signs, blanks and underscores.
        if not (digits.isascii() and digits.isdigit()):
            return None
        return np.fromiter(map(int, values), _DTYPE, len(values))
    except (TypeError, ValueError, OverflowError):
        return None
