"""What the calendar of the exchange does not say: the tables market_closure and always_open."""

from collections.abc import Sequence

from ..contracts.market_hours import Closures
from .postgres import Connection
from .queries import query


def market_closures(connection: Connection) -> Closures:
    """Return the closures that the calendar does not have. One short statement: read them for each look or decision."""
    return dict(connection.execute(query("market_closures")).fetchall())


def always_open_symbols(connection: Connection) -> frozenset[str]:
    """Return the symbols whose bars all count as regular hours; EVERY_SYMBOL means all symbols."""
    return frozenset(symbol for (symbol,) in connection.execute(query("always_open_symbols")))


def set_always_open(connection: Connection, symbols: Sequence[str], *, is_open: bool) -> None:
    """Add or remove symbols, and notify the workers. Removing EVERY_SYMBOL removes all rows."""
    name = "add_always_open" if is_open else "remove_always_open"
    if connection.execute(query(name), {"symbols": list(symbols)}).rowcount:
        connection.execute(query("tell_definitions_changed"))
