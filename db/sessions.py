"""Symbols whose market never closes, as they are kept: the table always_open."""

from collections.abc import Sequence

from .postgres import Connection
from .queries import query


def always_open_symbols(connection: Connection) -> frozenset[str]:
    """Return the symbols whose every bar is one of the regular hours; EVERY_SYMBOL stands for all of them."""
    return frozenset(symbol for (symbol,) in connection.execute(query("always_open_symbols")))


def set_always_open(connection: Connection, symbols: Sequence[str], *, is_open: bool) -> None:
    """Enter symbols, or take them away; EVERY_SYMBOL takes away all that are there."""
    connection.execute(query("add_always_open" if is_open else "remove_always_open"), {"symbols": list(symbols)})
