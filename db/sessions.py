"""The table always_open: symbols whose market never closes."""

from collections.abc import Sequence

from .postgres import Connection
from .queries import query


def always_open_symbols(connection: Connection) -> frozenset[str]:
    """Return the symbols whose bars all count as regular hours; EVERY_SYMBOL means all symbols."""
    return frozenset(symbol for (symbol,) in connection.execute(query("always_open_symbols")))


def set_always_open(connection: Connection, symbols: Sequence[str], *, is_open: bool) -> None:
    """Add or remove symbols, and notify the workers. Removing EVERY_SYMBOL removes all rows."""
    name = "add_always_open" if is_open else "remove_always_open"
    if connection.execute(query(name), {"symbols": list(symbols)}).rowcount:
        connection.execute(query("tell_definitions_changed"))
