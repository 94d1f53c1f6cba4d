"""The universes that somebody may name who is not at this machine: rows of cache_entries, never a file."""

from collections.abc import Sequence

from ...contracts.errors import UsageError
from ...contracts.first_few import first_few
from ...contracts.runs import EVERY_UNIVERSE
from ...db.postgres import Connection
from ...db.tables.universe import ListedUniverse, list_universes


def universe_named(connection: Connection, name: str) -> str:
    """Return the NAME:KEY of a universe by that, by its key or its name; `all` as it is.

    Raises UsageError, which names those that there are.
    """
    return name if name == EVERY_UNIVERSE else str(_find(list_universes(connection), name).entry)


def symbols_of_universes(connection: Connection, names: Sequence[str]) -> tuple[str, ...] | None:
    """Return the symbols of several universes together, each once; None: every symbol. Raises UsageError."""
    if EVERY_UNIVERSE in names:
        return None
    known = list_universes(connection)
    return tuple(dict.fromkeys(symbol for name in names for symbol in _find(known, name).symbols))


def _find(known: Sequence[ListedUniverse], name: str) -> ListedUniverse:
    folded = name.casefold()
    for spelled in (str, lambda entry: entry.key, lambda entry: entry.name):
        found = [one for one in known if spelled(one.entry).casefold() == folded]
        if len(found) == 1:
            return found[0]
    names = [EVERY_UNIVERSE, *(str(one.entry) for one in known)]
    raise UsageError(f"there is no universe {name!r}; there are: {first_few(names)}")
