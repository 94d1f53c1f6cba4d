"""The universes that somebody may name who is not at this machine: rows of cache_entries, never a file."""

from collections.abc import Sequence

from ...contracts.runs import EVERY_UNIVERSE
from ...db.postgres import Connection
from ...db.tables.universe import named_universe


def universe_named(connection: Connection, name: str) -> str:
    """Return the NAME:KEY of a universe, `all` as it is. Raises UsageError, which names those that there are."""
    return name if name == EVERY_UNIVERSE else str(named_universe(connection, name).entry)


def symbols_of_universes(connection: Connection, names: Sequence[str]) -> tuple[str, ...] | None:
    """Return the symbols of several universes together, each once; None: every symbol. Raises UsageError."""
    if EVERY_UNIVERSE in names:
        return None
    found = [named_universe(connection, name) for name in names]
    return tuple(dict.fromkeys(symbol for one in found for symbol in one.symbols))
