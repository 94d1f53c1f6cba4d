"""Which trades of a replay keep their ids: those that a table may refuse. Pure."""

from dataclasses import replace

from ..contracts.ticks import Column, Ticks

_LEAST_PRICE, _MOST_PRICE, _MOST_SIZE = 0.005, 999_999.0, 1e12
_NAMES = frozenset(("trade_key", "facility", "note"))


def is_extreme(price: Column, size: Column) -> Column:
    """Return which trades a table of bars may refuse; (n,) bool.

    The application's own may have numeric(10,4) for prices, and a table with cents stores less than half of one as 0.
    """
    extreme: Column = (price < _LEAST_PRICE) | (price >= _MOST_PRICE) | (size >= _MOST_SIZE)
    return extreme


def without_names(ticks: Ticks) -> Ticks:
    """Drop the ids of a replay's trades: repeats are marked already, and nothing cancels a trade of a file.

    If a table may refuse one of them, all keep their ids, for its dead letter.
    """
    if _NAMES.isdisjoint(ticks.optional) or is_extreme(ticks.price, ticks.size).any():
        return ticks
    kept = {name: column for name, column in ticks.optional.items() if name not in _NAMES}
    return replace(ticks, optional=kept, notes=())
