"""A trade's name among those of its symbol, as one number: the column `trade_key`. Pure.

Massive says that a trade's id is unique for its ticker, exchange and reporting facility. The facility is no part of the
key, but a column of its own: the plain `cancel` names only symbol, exchange and trade id, and must find the trade of
any feed.

An id of 0 can be cancelled, but tells no trade from another: 0 is what programs write where they have no id.
"""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from ..ticks import OPTIONAL_COLUMNS, Column

NO_KEY = 0  # the trade has no id: nothing can cancel it

_EXCHANGES = 1 << 8
_IDS = 1 << 54  # so many fit above the exchange's 8 bits; the two top bits stay clear
_TOP_BIT = 1 << 63
_LOW = (1 << 32) - 1  # bits that are clear in the hash of an id of 0; in another's by chance, once in 4 billion
_FACILITY_IS_HASH = 1 << 31
_DTYPE = OPTIONAL_COLUMNS["trade_key"]


def trade_key(exchange: int | str, trade_id: str) -> int:
    """Return the key of a trade: an int64, never 0; by itself where both are numbers, negative where it is a hash.

    exchange: the feed's own number or name of it, 0 where it names none. A number and its text are the same; leading
    zeros and blanks around it do not count: feeds differ in how they spell what they keep as a number.
    """
    exchange, number = _number(exchange) or 0, _number(trade_id)
    if isinstance(exchange, int) and isinstance(number, int) and exchange < _EXCHANGES and number < _IDS:
        key = number << 8 | exchange
        if key != NO_KEY:
            return key
    hashed = _hash(f"{exchange}\0{number}", 8)
    return ((hashed & ~_LOW if number == 0 else hashed) | _TOP_BIT) - 2 * _TOP_BIT


def names_of_key(key: int) -> tuple[int, str] | None:
    """Return the exchange and the trade id that a key is made of; None for a hash, which does not tell."""
    return (key & _EXCHANGES - 1, str(key >> 8)) if key > 0 else None


def is_unique(keys: Column) -> NDArray[np.bool_]:
    """Tell which keys stand for one trade and no other; keys: (n,) int64. Not NO_KEY, and not an id of 0."""
    unique: NDArray[np.bool_] = (keys >= _EXCHANGES) | ((keys < 0) & ((keys & _LOW) != 0))
    return unique


def facility_of(name: int | str) -> int:
    """Return who reported a trade as a number of 32 bits: 0 for nobody, itself below 2^31, else a hash."""
    number = _number(name) or 0
    if isinstance(number, int) and number < _FACILITY_IS_HASH:
        return number
    return _hash(str(number), 4) | _FACILITY_IS_HASH


def is_hashed(facility: int) -> bool:
    """Tell whether a facility's number does not tell its name."""
    return facility >= _FACILITY_IS_HASH


def _hash(text: str, size: int) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest())


def trade_keys(exchanges: Sequence[int | str] | Column, trade_ids: Sequence[str] | Column) -> NDArray[np.int64]:
    """Return the keys of many trades, (n,) int64; NO_KEY where the id is empty. Numbers are read all at once."""
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
    """Read a plain decimal number; whatever else stays as it is, and so do digits that nobody could count with."""
    if isinstance(text, int):
        return text if text >= 0 else str(text)
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else text


def _keys_of_numbers(exchanges: Sequence[int | str] | Column, trade_ids: Sequence[str] | Column) -> Column | None:
    """Return the keys where all exchanges and ids are small numbers, else None."""
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
